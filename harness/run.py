"""One run, start to end: suite to plan to answers to report. The order of things, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.fleet import away_of
from harness.card import DERIVED
from harness.cluster.engine import answer_on_ray
from harness.conclude import Prepared, conclude
from harness.data import open_dataset
from harness.data.spots import GeneratedPairs, PairSet, TablePairs
from harness.difference.engine import measure
from harness.engines import answer
from harness.environment import fingerprint
from harness.errors import HarnessError, StoreError, SuiteError, problem
from harness.events import Events
from harness.fingerprints.bank import BANK_KEY, Bank, read_bank
from harness.images.preprocess import preprocess
from harness.load.engine import put_under_load
from harness.models import VARIANT, Model, expand, open_models
from harness.plan import Plan, make_plan
from harness.references import represent, with_embedders
from harness.report import write_report
from harness.report.tree import Report
from harness.search.registry import parse_searcher
from harness.searches import search
from harness.serving import TritonServer
from harness.spec.difference import PairsSpec
from harness.spec.load import load_suite
from harness.spec.suite import Suite
from harness.spec.tasks import AskingTask, DetectionTask, DifferenceTask, GrayTask
from harness.spec.words import LOCAL, RAY, Split
from harness.store.found import write_found
from harness.store.runs import RunInfo, RunStore, now
from harness.tasks.gray import read_history


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        suite: path of the suite file.
        settings: ``a.b=c`` overrides.
        out: root of runs, cells and manifests.
        limit: at most so many images per subset.
        serve: whether the run starts a Triton for the repository's models.
        engine: what answers cells, where it is not what the suite says.
        records: URL that records go to, instead of into folders of ``out``.
        resumed: run that is gone on with; a run of another plan is refused.
    """

    suite: Path
    settings: tuple[str, ...] = ()
    out: Path = Path("reports")
    limit: int | None = None
    serve: bool = False
    engine: str | None = None
    records: str | None = None
    resumed: str | None = None


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
        seconds: time of inference, from one timed request per model, and of loads.
        bytes: disk that the records would take.
    """

    plan: Plan
    open: int
    requests: int
    seconds: float
    bytes: int


def run(asked: Asked, events: Events) -> Finished:
    """Run a suite, or go on with an unfinished run of the same plan.

    Raises:
        HarnessError: whatever went wrong; everything answered so far is on disk.
    """
    store = RunStore(asked.out, asked.records)
    store.sweep()
    with prepare(asked, store, events) as ready:
        info = _start(asked, ready, store)
        plan = _plan(ready, asked.limit, info.id)
        cards = {name: card.model_dump(mode="json", exclude_defaults=True) for name, card in ready.cards.items()}
        digests = {name: data.digest for name, data in ready.datasets.items()}
        info = info.model_copy(update={"cells": plan.keys, "cards": cards, "data": digests})
        store.save(info)
        try:
            _answer(info.engine, ready, plan, store, events)
            put_under_load(plan.loads, ready.models, ready.datasets, store.loads, ready.suite.seed, events)
            measure(plan.differences, ready.pairs, ready.cams, store.differences, ready.suite.seed, events)
            try:
                search(plan.searches, ready.models, ready.datasets, store, ready.suite.seed, events)
            finally:
                _write_found(plan, store, info.id)
            _tell_away(ready.models, events)
            report, reasons = conclude(ready, plan, store, events)
            write_report(report, store.folder(info.id))
        except BaseException as error:
            failed = "failed" if isinstance(error, HarnessError) else "interrupted"
            with suppress(StoreError):  # on a full disk it is the first error that tells
                store.save(info.model_copy(update={"status": failed, "finished": now()}))
            raise
        verdict = "VALID" if not reasons else "INVALID: " + "; ".join(reasons)
        info = info.model_copy(update={"status": "complete", "finished": now(), "verdict": verdict})
        store.save(info)
    return Finished(info, store.folder(info.id), report, reasons)


def estimate(asked: Asked, events: Events) -> Estimated:
    """Plan a run and time one request of each model, without recording an answer; references that miss are fitted.

    Raises:
        HarnessError: the suite can't be run as it stands.
    """
    store = RunStore(asked.out, asked.records)
    with prepare(asked, store, events) as ready:
        plan = _plan(ready, asked.limit)
        pace = {}
        for name, model in ready.models.items():
            if model.card.task in DERIVED:
                continue
            side = model.card.preprocess.crop or model.card.preprocess.resize or 224
            black, white = (
                preprocess(np.full((side, side, 3), level, np.uint8), model.card.preprocess) for level in (0, 255)
            )
            size = model.backend.options.batch
            model.backend.infer({model.card.input: np.stack([black] * size)})
            started = time.perf_counter()
            model.backend.infer({model.card.input: np.stack([white] * size)})  # another: representations are remembered
            pace[name] = time.perf_counter() - started
        todo = {cell.key: cell.images - len(store.cells.answered(cell.key)) for cell in plan.cells}
        unique = {cell.key: cell for cell in plan.cells}.values()
        requests = {cell.key: -(-todo[cell.key] // cell.batch) for cell in unique}
        return Estimated(
            plan=plan,
            open=sum(todo[cell.key] for cell in unique),
            requests=sum(requests.values()),
            seconds=sum(requests[cell.key] * pace[cell.model] for cell in unique)
            + sum(cell.seconds for cell in plan.loads),
            bytes=sum(todo[cell.key] * (48 + 4 * ready.models[cell.model].card.outputs) for cell in unique),
        )


@contextmanager
def prepare(asked: Asked, store: RunStore, events: Events) -> Iterator[Prepared]:
    """Open a suite's data sets and models, on a Triton of the run's own if asked for; fit references that miss."""
    suite = load_suite(asked.suite, asked.settings)
    here = asked.suite.parent
    repository = here / suite.repository
    histories = {task.name: read_history(here / task.history) for task in suite.tasks if isinstance(task, GrayTask)}
    pairs = {task.name: _open_pairs(task.pairs, here) for task in suite.tasks if isinstance(task, DifferenceTask)}
    datasets = {
        name: open_dataset(name, spec, here, store.manifests, events, _splits(suite, name))
        for name, spec in suite.data.items()
    }
    with ExitStack() as stack:
        server = None
        specs = with_embedders(suite, repository)
        wanted = expand(specs, repository, everything=asked.serve, tasks=suite.asks)
        mine = sorted({item.name.partition(VARIANT)[0] for item in wanted if not item.endpoint})
        if mine:
            events.begin("starting Triton", 0, "models")
            server = stack.enter_context(TritonServer(repository, mine, log=store.root / "triton.log"))
            events.end()
            wanted = expand(specs, repository, server.grpc_url, asked.serve, suite.asks)
        opened = stack.enter_context(open_models(wanted, server))
        _tell_away(opened, events)
        make_plan(suite, opened, datasets, pairs=pairs)  # refuses what can't be asked, before references are fitted
        models, references = represent(suite, opened, datasets, store.references, events)
        banks = _banks(suite, opened)
        yield Prepared(suite, datasets, models, references, histories, banks, pairs, tuple(wanted))


def _answer(engine: str, ready: Prepared, plan: Plan, store: RunStore, events: Events) -> None:
    """Have the cells answered by the engine of a name."""
    said = (ready.models, ready.datasets, store.cells, ready.suite.seed, events)
    if engine == LOCAL:
        answer(plan.cells, *said)
    else:
        answer_on_ray(plan.cells, ready.wanted, *said, address=None if engine == RAY else engine)


def _plan(ready: Prepared, limit: int | None, nonce: str = "") -> Plan:
    return make_plan(ready.suite, ready.models, ready.datasets, limit, nonce, ready.files, ready.pairs)


def _tell_away(models: Mapping[str, Model], events: Events) -> None:
    """Tell which endpoints of fleets don't answer; the run goes on with the others."""
    for name, model in models.items():
        for address in away_of(model.backend):
            events.note(f"{name}: {address} does not answer; the model's other endpoints are asked")


def _open_pairs(spec: PairsSpec, here: Path) -> PairSet:
    """Open the pairs of a difference task; paths are relative to the suite file."""
    if spec.generated is not None:
        return GeneratedPairs(spec.generated.count, spec.generated.side, spec.generated.seed)
    table = here / Path(spec.table).expanduser()
    return TablePairs(table, here / Path(spec.root).expanduser() if spec.root else None)


def _banks(suite: Suite, models: Mapping[str, Model]) -> dict[str, Bank]:
    """Return the fingerprints of those models that are banks of the suite's repository, where a task shows them."""
    tasks = [task for task in suite.tasks if isinstance(task, DetectionTask)]
    if not any(task.gallery or task.lineage is not None for task in tasks):
        return {}
    return {
        name: read_bank(model.folder, model.card)
        for name, model in models.items()
        if model.folder is not None and BANK_KEY in model.card.training
    }


def _splits(suite: Suite, data: str) -> tuple[Split, ...]:
    """Return the splits of a data set that may be asked for: usual ones, and those of tasks and references."""
    asked = [task for task in suite.tasks if isinstance(task, AskingTask) and task.data == data]
    mine = [*(task.split for task in asked), *(item.split for item in suite.references if item.data == data)]
    return tuple(dict.fromkeys(("val", "test", *mine)))


def _write_found(plan: Plan, store: RunStore, run_id: str) -> None:
    """Write what searches have kept so far into the run's folder."""
    if plan.searches:
        searches = [
            (cell.key, cell.roles.white, cell.roles.black, parse_searcher(cell.searcher).title)
            for cell in plan.searches
        ]
        write_found(store.folder(run_id), searches, store.searches)


def _start(asked: Asked, ready: Prepared, store: RunStore) -> RunInfo:
    """Return the unfinished run of this plan, or a new one."""
    plan = _plan(ready, asked.limit).digest
    spec = ready.suite.model_dump(mode="json")
    if asked.resumed is not None:
        _check_resumed(store.load(asked.resumed), plan, spec)
    engine = asked.engine or ready.suite.engine
    earlier = store.unfinished(plan)
    if earlier is not None:
        again = {"status": "running", "finished": None, "engine": engine, "records": asked.records}
        return earlier.model_copy(update=again)
    started = now()
    stamp = "".join(letter for letter in started[:19] if letter.isalnum())
    return RunInfo(
        id=f"{stamp}-{ready.suite.name}-{plan[:8]}",
        plan=plan,
        suite=str(asked.suite),
        settings=asked.settings,
        spec=spec,
        status="running",
        started=started,
        served="triton" if asked.serve else None,
        limit=asked.limit,
        environment=fingerprint(),
        engine=engine,
        records=asked.records,
    )


def _check_resumed(earlier: RunInfo, plan: str, spec: Mapping[str, Any]) -> None:
    """Raise SuiteError where what would be asked is not what the earlier run asked."""
    if earlier.plan != plan:
        keys = [key for key in spec if earlier.spec.get(key) != spec[key]]
        got = f"another: {', '.join(keys) or 'its images, models or packages'} changed"
        do = f"Set the variables that it was started with, or start another: harness run {earlier.suite}"
        raise SuiteError(problem(f"run {earlier.id}", "the suite that it was started with", got, do))
