"""One run, start to end: suite to plan to answers to report. The order of things, and nothing else."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.claims import check_claims
from harness.data import open_dataset
from harness.data.audit import Audit, audit
from harness.data.sample import Dataset
from harness.engines import answer
from harness.environment import fingerprint, source_digest
from harness.errors import HarnessError
from harness.events import Events
from harness.images.preprocess import preprocess
from harness.models import VARIANT, Model, expand, open_models
from harness.plan import Cell, Plan, make_plan
from harness.report import kept, write_report
from harness.report.classification import classification_sections
from harness.report.detection import TaskResult, detection_sections
from harness.report.kept import Conclusion
from harness.report.suite import suite_report
from harness.report.thumbnails import flip_tiles, mistake_tiles
from harness.report.tree import Report, Section
from harness.serving import TritonServer
from harness.spec.load import load_suite
from harness.spec.suite import ClassificationTask, DetectionTask, Suite
from harness.store.runs import RunInfo, RunStore, now
from harness.tasks.classification import evaluate_classes
from harness.tasks.detection import Detection, evaluate


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        suite: path of the suite file.
        settings: ``a.b=c`` overrides.
        out: root of runs, cells and manifests.
        limit: at most so many images per subset.
        serve: whether the run starts a Triton for the repository's models.
    """

    suite: Path
    settings: tuple[str, ...] = ()
    out: Path = Path("reports")
    limit: int | None = None
    serve: bool = False


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        info: what run.json holds.
        folder: where the reports lie.
        report: the report tree.
        reasons: why the run is INVALID; empty where it is VALID.
    """

    info: RunInfo
    folder: Path
    report: Report
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Estimated:
    """What a run would take.

    Attributes:
        plan: its cells.
        open: answers that are not on disk yet.
        requests: requests they need.
        seconds: time of inference, from one timed request per model.
        bytes: disk that the records would take.
    """

    plan: Plan
    open: int
    requests: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Prepared:
    """A suite with its data sets and models open."""

    suite: Suite
    datasets: Mapping[str, Dataset]
    models: Mapping[str, Model]


def run(asked: Asked, events: Events) -> Finished:
    """Run a suite, or go on with an unfinished run of the same plan.

    Raises:
        HarnessError: whatever went wrong; everything answered so far is on disk.
    """
    store = RunStore(asked.out)
    with prepare(asked, store, events) as ready:
        info = _start(asked, ready, store)
        plan = make_plan(ready.suite, ready.models, ready.datasets, asked.limit, nonce=info.id)
        info = info.model_copy(update={"cells": {cell.name: cell.key for cell in plan.cells}})
        store.save(info)
        try:
            answer(plan.cells, ready.models, ready.datasets, store.cells, ready.suite.seed, events)
            report, reasons = conclude(ready, plan, store, events)
            write_report(report, store.folder(info.id))
        except BaseException as error:
            failed = "failed" if isinstance(error, HarnessError) else "interrupted"
            store.save(info.model_copy(update={"status": failed, "finished": now()}))
            raise
        verdict = "VALID" if not reasons else "INVALID: " + "; ".join(reasons)
        info = info.model_copy(update={"status": "complete", "finished": now(), "verdict": verdict})
        store.save(info)
    return Finished(info, store.folder(info.id), report, reasons)


def estimate(asked: Asked, events: Events) -> Estimated:
    """Plan a run and time one request of each model, without recording anything.

    Raises:
        HarnessError: the suite can't be run as it stands.
    """
    store = RunStore(asked.out)
    with prepare(asked, store, events) as ready:
        plan = make_plan(ready.suite, ready.models, ready.datasets, asked.limit)
        pace = {}
        for name, model in ready.models.items():
            side = model.card.preprocess.crop or model.card.preprocess.resize or 224
            one = preprocess(np.zeros((side, side, 3), np.uint8), model.card.preprocess)
            batch = np.stack([one] * model.backend.options.batch)
            model.backend.infer({model.card.input: batch})
            started = time.perf_counter()
            model.backend.infer({model.card.input: batch})
            pace[name] = time.perf_counter() - started
        todo = {cell.key: cell.images - len(store.cells.answered(cell.key)) for cell in plan.cells}
        unique = {cell.key: cell for cell in plan.cells}.values()
        requests = {cell.key: -(-todo[cell.key] // cell.batch) for cell in unique}
        return Estimated(
            plan=plan,
            open=sum(todo[cell.key] for cell in unique),
            requests=sum(requests.values()),
            seconds=sum(requests[cell.key] * pace[cell.model] for cell in unique),
            bytes=sum(todo[cell.key] * (48 + 4 * ready.models[cell.model].card.outputs) for cell in unique),
        )


@contextmanager
def prepare(asked: Asked, store: RunStore, events: Events) -> Iterator[Prepared]:
    """Open a suite's data sets and models, on a Triton of the run's own if asked for."""
    suite = load_suite(asked.suite, asked.settings)
    here = asked.suite.parent
    repository = here / suite.repository
    datasets = {name: open_dataset(name, spec, here, store.manifests, events) for name, spec in suite.data.items()}
    with ExitStack() as stack:
        wanted = expand(suite.models, repository, everything=asked.serve)
        mine = sorted({item.name.partition(VARIANT)[0] for item in wanted if not item.endpoint})
        if mine:
            events.begin("starting Triton", 0, "models")
            server = stack.enter_context(TritonServer(repository, mine, log=store.root / "triton.log"))
            events.end()
            wanted = expand(suite.models, repository, server.grpc_url, asked.serve)
        yield Prepared(suite, datasets, stack.enter_context(open_models(wanted)))


def conclude(ready: Prepared, plan: Plan, store: RunStore, events: Events) -> Conclusion:
    """Return the conclusion kept from an earlier run over the same records, or draw it and keep it."""
    key = _drawn_from(ready, plan, store)
    content = store.kept(key)
    found = kept.load(content) if content is not None else None
    if found is None:
        found = draw_conclusion(ready, plan, store, events)
        store.keep(key, kept.dump(found))
    return found


def _drawn_from(ready: Prepared, plan: Plan, store: RunStore) -> str:
    """Return the digest of all that a conclusion depends on: records, suite, models, data, code and machine."""
    said = {
        "records": store.cells.state(cell.key for cell in plan.cells),
        "cells": {cell.name: cell.key for cell in plan.cells},
        "suite": ready.suite.model_dump(mode="json"),
        "models": {
            name: (model.transport, model.info.model_dump(mode="json"), model.card.digest())
            for name, model in ready.models.items()
        },
        "data": {name: (data.digest, data.note) for name, data in ready.datasets.items()},
        "code": source_digest(),
        "environment": fingerprint(),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def draw_conclusion(ready: Prepared, plan: Plan, store: RunStore, events: Events) -> Conclusion:
    """Compute figures, audit and claims from the records, and build the report.

    Returns:
        The report, and why the run must not be trusted (empty where it may).
    """
    suite = ready.suite
    reasons = [reason for model in ready.models.values() for reason in parity_reasons(model)]
    sections: list[Section] = []
    many = len(suite.tasks) > 1
    events.begin("computing figures", len(suite.tasks), "tasks")
    for done, task in enumerate(suite.tasks):
        events.advance(done, len(suite.tasks), task.name)
        data = ready.datasets[task.data]
        if isinstance(task, DetectionTask):
            laid_out, records, failures = _detected(ready, task, plan, data, store, many)
        else:
            laid_out, records, failures = _classified(ready, task, plan, data, store, many)
        sections += laid_out
        reasons += failure_reasons(task.name, records, failures, suite.max_failures)
    events.end()
    notes = [item.note for item in ready.datasets.values() if item.note]
    return suite_report(suite, sections, ready.models, notes, fingerprint(), reasons), tuple(reasons)


Concluded = tuple[list[Section], int, Mapping[str, int]]
"""A task's sections, how many answers it asked for, and its failures by reason."""


def _detected(
    ready: Prepared, task: DetectionTask, plan: Plan, data: Dataset, store: RunStore, many: bool
) -> Concluded:
    suite, cells = ready.suite, plan.of(task.name)
    cards = {name: model.card for name, model in ready.models.items()}
    found = evaluate(task, cells, cards, data.subsets(), store.cells, suite.resamples, suite.seed)
    result = TaskResult(
        detection=found,
        audit=audit_task(cells, found, data, suite) if task.audit else None,
        claims=check_claims(found, cards, suite.report.claims),
        tiles=tuple(mistake_tiles(found, data, suite.report.mistakes)),
    )
    return list(detection_sections(result, many)), found.records, found.failures


def _classified(
    ready: Prepared, task: ClassificationTask, plan: Plan, data: Dataset, store: RunStore, many: bool
) -> Concluded:
    suite, cells = ready.suite, plan.of(task.name)
    cards = {name: model.card for name, model in ready.models.items()}
    found = evaluate_classes(task, cells, cards, store.cells, suite.resamples, suite.seed)
    tiles = tuple(flip_tiles(found, cards, data, suite.report.mistakes))
    return list(classification_sections(found, tiles, many)), found.records, found.failures


def audit_task(cells: Sequence[Cell], detection: Detection, data: Dataset, suite: Suite) -> Audit:
    """Hold the tested files' formats, qualities and sizes against their labels."""
    tested = {cell.subset: cell for cell in cells if cell.split == detection.task.split}
    samples = {
        name: data.samples(name, cell.split, cell.sample.per_subset, cell.sample.seed) for name, cell in tested.items()
    }
    labels = {name: cell.label for name, cell in tested.items()}
    return audit(samples, labels, detection.generators, suite.resamples, suite.seed)


def parity_reasons(model: Model) -> list[str]:
    """Return why a model's export can't be trusted; a third party's model has no parity to fail."""
    parity = model.card.parity
    return [f"{model.name}: parity of its export failed"] if parity is not None and not parity.passed else []


def failure_reasons(task: str, records: int, failures: Mapping[str, int], most: float) -> list[str]:
    """Return why a task's records can't be trusted."""
    failed = sum(failures.values())
    if not records:
        return [f"{task}: nothing was asked"]
    if failed <= most * records:
        return []
    why = ", ".join(f"{count} {reason}" for reason, count in failures.items())
    return [f"{task}: {failed} of {records} answers failed ({why})"]


def _start(asked: Asked, ready: Prepared, store: RunStore) -> RunInfo:
    """Return the unfinished run of this plan, or a new one."""
    plan = make_plan(ready.suite, ready.models, ready.datasets, asked.limit).digest
    earlier = store.unfinished(plan)
    if earlier is not None:
        return earlier.model_copy(update={"status": "running", "finished": None})
    started = now()
    stamp = "".join(letter for letter in started[:19] if letter.isalnum())
    return RunInfo(
        id=f"{stamp}-{ready.suite.name}-{plan[:8]}",
        plan=plan,
        suite=str(asked.suite),
        settings=asked.settings,
        spec=ready.suite.model_dump(mode="json"),
        status="running",
        started=started,
        served="triton" if asked.serve else None,
        limit=asked.limit,
        environment=fingerprint(),
    )
