"""From records to conclusions: figures, audit and claims laid out as a report, kept for the next run over the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.cams import ServedCam
from harness.card import Card
from harness.claims import check_claims
from harness.data.audit import Audit, audit
from harness.data.sample import Dataset
from harness.data.spots import PairSet
from harness.difference.method import Method
from harness.difference.strategies import Cam
from harness.environment import fingerprint, source_digest
from harness.events import Events
from harness.fingerprints.bank import Bank
from harness.fingerprints.reference import Reference
from harness.keys import content_key
from harness.models import Model, Wanted
from harness.plan import Cell, Plan
from harness.report import kept
from harness.report.artifacts import artifact_tiles
from harness.report.attribution import attribution_sections
from harness.report.classification import classification_sections
from harness.report.detection import TaskResult, detection_sections
from harness.report.difference import difference_sections
from harness.report.difference_tiles import difference_tiles
from harness.report.disagreement import disagreement_sections
from harness.report.gray import gray_section
from harness.report.kept import Conclusion
from harness.report.load import load_sections
from harness.report.suite import suite_report
from harness.report.thumbnails import flip_tiles, mistake_tiles, search_tiles
from harness.report.tree import Section
from harness.spec.loading import LoadTask
from harness.spec.suite import Suite
from harness.spec.tasks import (
    AttributionTask,
    ClassificationTask,
    DetectionTask,
    DifferenceTask,
    DisagreementTask,
    GrayTask,
)
from harness.store.runs import RunStore
from harness.tasks.attribution import Attribution, evaluate_attribution
from harness.tasks.classification import evaluate_classes
from harness.tasks.contrasts import contrast
from harness.tasks.correlation import correlate
from harness.tasks.detection import Detection, evaluate
from harness.tasks.difference import evaluate_differences
from harness.tasks.disagreement import evaluate_disagreement
from harness.tasks.gray import History
from harness.tasks.learning import learn
from harness.tasks.lineage import trace
from harness.tasks.load import evaluate_loads
from harness.tasks.plane import lay_out


@dataclass(frozen=True)
class Prepared:
    """A suite with everything open that its tasks need.

    Attributes:
        suite: the suite.
        datasets, models: by name.
        references: that artifacts are taken against.
        histories: of gray tasks, by task.
        banks: fingerprints by model, where a task shows them.
        pairs: of difference tasks, by task.
        wanted: how the models are opened.
    """

    suite: Suite
    datasets: Mapping[str, Dataset]
    models: Mapping[str, Model]
    references: tuple[Reference, ...] = ()
    histories: Mapping[str, History] = field(default_factory=dict)
    banks: Mapping[str, Bank] = field(default_factory=dict)
    pairs: Mapping[str, PairSet] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """Digests of the files that tasks read in place of answers, by task."""
        return {task: history.digest() for task, history in self.histories.items()}

    @property
    def cams(self) -> dict[str, Cam]:
        """The models that say where they look."""
        return {name: ServedCam(model) for name, model in self.models.items() if model.card.task == "gradcam"}

    @property
    def cards(self) -> dict[str, Card]:
        """The models' cards."""
        return {name: model.card for name, model in self.models.items()}


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
        "compared": store.differences.state(cell.key for cell in plan.differences),
        "loaded": store.loads.state(cell.key for cell in plan.loads),
        "searched": store.searches.state(cell.key for cell in plan.searches),
        "cells": plan.keys,
        "suite": ready.suite.model_dump(mode="json"),
        "models": {
            name: (model.transport, model.info.model_dump(mode="json"), model.card.digest())
            for name, model in ready.models.items()
        },
        "data": {name: (data.digest, data.note) for name, data in ready.datasets.items()},
        "code": source_digest(),
        "environment": fingerprint(),
    }
    return content_key(said)


def draw_conclusion(ready: Prepared, plan: Plan, store: RunStore, events: Events) -> Conclusion:
    """Compute figures, audit and claims from the records, and build the report.

    Returns:
        The report, and why the run must not be trusted (empty where it may).
    """
    suite = ready.suite
    reasons = [reason for model in ready.models.values() for reason in parity_reasons(model)]
    sections: list[Section] = []
    attributions: list[Attribution] = []
    chosen: dict[str, Method] = {}
    many = len(suite.tasks) > 1
    events.begin("computing figures", len(suite.tasks), "tasks")
    for done, task in enumerate(suite.tasks):
        events.advance(done, len(suite.tasks), task.name)
        if isinstance(task, GrayTask):
            sections.append(gray_section(ready.histories[task.name], task.name, many))
            continue
        if isinstance(task, DifferenceTask):
            laid_out, records, failures = _compared(ready, task, plan, store, chosen, many)
            sections += laid_out
            reasons += failure_reasons(task.name, records, failures, suite.max_failures)
            continue
        if isinstance(task, LoadTask):
            loaded = evaluate_loads(task, plan.loads_of(task.name), store.loads, suite.max_failures)
            sections += load_sections(loaded, many)
            reasons += loaded.reasons
            continue
        data = ready.datasets[task.data]
        if isinstance(task, DetectionTask):
            laid_out, records, failures = _detected(ready, task, plan, data, store, many)
        elif isinstance(task, ClassificationTask):
            laid_out, records, failures = _classified(ready, task, plan, data, store, many)
        elif isinstance(task, AttributionTask):
            laid_out, records, failures = _attributed(ready, task, plan, data, store, attributions, many)
        else:
            laid_out, records, failures = _disagreed(ready, task, plan, data, store, many)
        sections += laid_out
        reasons += failure_reasons(task.name, records, failures, suite.max_failures)
    events.end()
    said = [*(data.note for data in ready.datasets.values()), *(pairs.note for pairs in ready.pairs.values())]
    notes = list(dict.fromkeys(filter(None, said)))
    return suite_report(suite, sections, ready.models, notes, fingerprint(), reasons, ready.references), tuple(reasons)


Concluded = tuple[list[Section], int, Mapping[str, int]]
"""A task's sections, how many answers it asked for, and its failures by reason."""


def _detected(
    ready: Prepared, task: DetectionTask, plan: Plan, data: Dataset, store: RunStore, many: bool
) -> Concluded:
    suite, cells = ready.suite, plan.of(task.name)
    found = evaluate(task, cells, ready.cards, data.subsets(), store.cells, suite.resamples, suite.seed)
    result = TaskResult(
        detection=found,
        audit=audit_task(cells, found, data, suite) if task.audit else None,
        claims=check_claims(found, ready.cards, suite.report.claims),
        tiles=tuple(mistake_tiles(found, data, suite.report.mistakes)),
        correlation=correlate(found) if task.correlation else None,
        experiment=contrast(found, suite.seed),
        learning=learn(found, ready.cards, task.learning_curve) if task.learning_curve else None,
        lineages=trace(found, task.lineage, suite.seed) if task.lineage is not None else (),
        banks=ready.banks,
    )
    return list(detection_sections(result, many)), found.records, found.failures


def _classified(
    ready: Prepared, task: ClassificationTask, plan: Plan, data: Dataset, store: RunStore, many: bool
) -> Concluded:
    suite, cells = ready.suite, plan.of(task.name)
    found = evaluate_classes(task, cells, ready.cards, store.cells, suite.resamples, suite.seed)
    tiles = tuple(flip_tiles(found, ready.cards, data, suite.report.mistakes))
    return list(classification_sections(found, tiles, many)), found.records, found.failures


def _attributed(
    ready: Prepared,
    task: AttributionTask,
    plan: Plan,
    data: Dataset,
    store: RunStore,
    earlier: list[Attribution],
    many: bool,
) -> Concluded:
    """Conclude one task beside those before it, and add its figures to theirs."""
    suite, cells = ready.suite, plan.of(task.name)
    found = evaluate_attribution(task, cells, ready.cards, store.cells, suite.resamples, suite.seed)
    plane = lay_out(found.shown, found.sources, suite.seed)
    subsets = list(dict.fromkeys(cell.subset for cell in cells if cell.split == task.split))
    tiles = tuple(artifact_tiles(subsets, task.split, data, ready.references)) if suite.report.mistakes else ()
    sections = list(attribution_sections(found, earlier, plane, tiles, many))
    earlier.append(found)
    return sections, found.records, found.failures


def _compared(
    ready: Prepared, task: DifferenceTask, plan: Plan, store: RunStore, chosen: dict[str, Method], many: bool
) -> Concluded:
    """Conclude one task with the method that an earlier one chose, or with its own choice for later ones."""
    suite, cells = ready.suite, plan.differences_of(task.name)
    choice = chosen.get(task.chosen_by) if task.chosen_by else None
    found = evaluate_differences(task, cells, store.differences, suite.resamples, suite.seed, choice)
    if found.choice is not None:
        chosen[task.name] = found.choice.method
    tiles = tuple(difference_tiles(found, ready.pairs[task.name], ready.cams, suite.report.mistakes))
    return list(difference_sections(found, tiles, many)), found.records, found.failures


def _disagreed(
    ready: Prepared, task: DisagreementTask, plan: Plan, data: Dataset, store: RunStore, many: bool
) -> Concluded:
    suite, cells = ready.suite, plan.searches_of(task.name)
    found = evaluate_disagreement(task, cells, ready.cards, store.searches, suite.resamples, suite.seed)
    tiles = {
        pair: tuple(search_tiles(found.of(pair), ready.cards, data, task.split))
        for pair in found.pairs
        if suite.report.mistakes
    }
    return list(disagreement_sections(found, tiles, many)), found.records, found.failures


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
