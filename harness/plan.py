"""From suite, models and data sets to cells: what will be asked, each under its content hash. Asks nothing itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.card import Card
from harness.data.sample import FAKE, Dataset, SubsetInfo, reals_for
from harness.errors import CardError, SuiteError, problem
from harness.images.degrade import CLEAN
from harness.models import VARIANT, Model
from harness.names import did_you_mean
from harness.spec.suite import (
    AtFprThreshold,
    CalibratedThreshold,
    ClassificationTask,
    DetectionTask,
    SampleSpec,
    Suite,
)

RECORD_VERSION = 2
"""Part of every cell's hash; raised when decoding or recording changes meaning."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One (task, model, subset, degradation): the unit of planning, caching and resuming.

    Attributes:
        key: SHA-256 of everything that the answers depend on.
        task, model: names in the suite.
        data: name of the data set.
        subset, label, split: which of its images.
        degradation: canonical id.
        images: how many images it has.
        sample: how they are chosen.
        batch: images a request; chunks of it are answered together whatever was answered before.
    """

    key: str
    task: str
    model: str
    data: str
    subset: str
    label: int
    split: str
    degradation: str
    images: int
    sample: SampleSpec
    batch: int

    @property
    def name(self) -> str:
        """Readable address, unique in a plan."""
        return "/".join((self.task, self.model, self.subset, self.split, self.degradation))


@dataclass(frozen=True)
class Plan:
    """All cells of a run."""

    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the cells' keys."""
        return hashlib.sha256("\n".join(cell.key for cell in self.cells).encode()).hexdigest()

    @property
    def answers(self) -> int:
        """How many answers the plan asks for."""
        return sum(cell.images for cell in self.cells)

    def of(self, task: str) -> list[Cell]:
        """Return one task's cells."""
        return [cell for cell in self.cells if cell.task == task]


def make_plan(
    suite: Suite,
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    limit: int | None = None,
    nonce: str = "",
) -> Plan:
    """Lay out the cells.

    Args:
        suite: the suite.
        models: opened models by name.
        datasets: opened data sets by name.
        limit: at most so many images per subset, below what the suite says.
        nonce: makes answers of endpoints that don't say which weights they serve valid for one run only.

    Raises:
        SuiteError: wildcards that match nothing, or a split without images.
    """
    return Plan(
        tuple(cell for task in suite.tasks for cell in _cells(suite, task, models, datasets[task.data], limit, nonce))
    )


def select(patterns: Sequence[str], names: Sequence[str], what: str) -> list[str]:
    """Return the names that any wildcard matches, in the order of ``names``.

    Raises:
        SuiteError: a pattern that matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SuiteError(problem(what, "a match", f"{pattern!r}, which matches none", did_you_mean(pattern, names)))
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def conditions(task: DetectionTask) -> list[str]:
    """Return the task's degradations, and harmonising as one more condition where the task asks for it."""
    harmonised = [task.harmonise.id] if task.harmonise else []
    return list(dict.fromkeys([*task.degradations, *harmonised]))


def tested_subsets(task: DetectionTask, infos: Sequence[SubsetInfo]) -> tuple[list[str], list[str]]:
    """Return the generators that the task tests, and the real subsets that they are held against.

    Raises:
        SuiteError: no subset of the split matches.
    """
    here = [info for info in infos if info.split == task.split]
    fakes = [info.subset for info in here if info.label == FAKE]
    reals = {info.subset for info in here if info.label != FAKE}
    if not here:
        raise _no_images(task, infos)
    generators = select(task.subsets, fakes, f"task {task.name}: subsets") if fakes else []
    paired = {real for generator in generators for real in reals_for(generator, reals)}
    return generators, sorted(paired or reals)


def pairs_of(names: Sequence[str], reference: str) -> list[tuple[str, str]]:
    """Return (reference, candidate): a variant with its model, and a model with its architecture's reference.

    Raises:
        SuiteError: several models of one architecture match ``reference``.
    """
    base = [name for name in names if VARIANT not in name and fnmatchcase(name, reference)]
    references: dict[str, str] = {}
    for name in base:
        held = references.setdefault(name.partition(".")[0], name)
        if held != name:
            raise SuiteError(
                problem(f"reference {reference!r}", "one model an architecture", f"{held} and {name}", "Name it closer")
            )
    found = []
    for name in names:
        model, marked, _ = name.partition(VARIANT)
        other = model if marked else references.get(name.partition(".")[0])
        if other in names and other != name:
            found.append((str(other), name))
    return found


def classifier_pairs(task: ClassificationTask, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    """Return the pairs that a classification task compares.

    Raises:
        CardError: a model that is no classifier, or two of a pair with other classes.
        SuiteError: several references of one architecture.
    """
    for name, card in cards.items():
        if not card.classes:
            what = f"task {task.name}: model {name}"
            raise CardError(problem(what, "a card with classes", card.task, "Leave it out of the task's models"))
    pairs = pairs_of(list(cards), task.reference)
    for first, second in pairs:
        if cards[first].classes != cards[second].classes:
            what = f"models {first} and {second}"
            raise CardError(problem(what, "the same classes", "different ones", "Compare models of one set of classes"))
    return pairs


def _cells(
    suite: Suite,
    task: DetectionTask | ClassificationTask,
    models: Mapping[str, Model],
    data: Dataset,
    limit: int | None,
    nonce: str,
) -> Iterator[Cell]:
    infos = data.subsets()
    names = select(task.models, list(models), f"task {task.name}: models")
    if isinstance(task, DetectionTask):
        wanted = _asked_in_detection(task, infos)
    else:
        classifier_pairs(task, {name: models[name].card for name in names})
        wanted = _asked_of_classes(task, infos)
    sample = suite.data[task.data].resolved().sample
    limits = [value for value in (sample.per_subset, limit) if value is not None]
    sample = SampleSpec(per_subset=min(limits) if limits else None, seed=sample.seed)
    for info, degradation in wanted:
        for name in names:
            model = models[name]
            yield Cell(
                key=_key(suite, model, data, info, degradation, sample, nonce),
                task=task.name,
                model=name,
                data=task.data,
                subset=info.subset,
                label=info.label,
                split=info.split,
                degradation=degradation,
                images=min(info.count, sample.per_subset or info.count),
                sample=sample,
                batch=model.backend.options.batch,
            )


def _asked_in_detection(task: DetectionTask, infos: Sequence[SubsetInfo]) -> list[tuple[SubsetInfo, str]]:
    """Return the subsets of a detection task with their degradations, and its calibration split's, clean."""
    generators, reals = tested_subsets(task, infos)
    wanted = [
        (info, degradation)
        for info in infos
        if info.split == task.split and info.subset in {*generators, *reals}
        for degradation in conditions(task)
    ]
    if isinstance(task.threshold, CalibratedThreshold | AtFprThreshold):
        wanted += [(info, CLEAN) for info in infos if info.split == task.threshold.split]
    return wanted


def _asked_of_classes(task: ClassificationTask, infos: Sequence[SubsetInfo]) -> list[tuple[SubsetInfo, str]]:
    """Return the subsets of a classification task with their degradations."""
    here = {info.subset for info in infos if info.split == task.split}
    if not here:
        raise _no_images(task, infos)
    chosen = set(select(task.subsets, sorted(here), f"task {task.name}: subsets"))
    return [
        (info, degradation)
        for info in infos
        if info.split == task.split and info.subset in chosen
        for degradation in task.degradations
    ]


def _no_images(task: DetectionTask | ClassificationTask, infos: Sequence[SubsetInfo]) -> SuiteError:
    splits = f"Splits: {sorted({info.split for info in infos})}"
    return SuiteError(problem(f"task {task.name}", f"images of split {task.split}", "none", splits))


def _key(
    suite: Suite, model: Model, data: Dataset, info: SubsetInfo, degradation: str, sample: SampleSpec, nonce: str
) -> str:
    said = {
        "version": RECORD_VERSION,
        "weights": model.info.weights_sha256 or nonce,
        "card": model.card.digest(),
        "transport": model.transport,
        "platform": model.info.platform,
        "batch": model.backend.options.batch,
        "optimisation": model.backend.options.optimisation,
        "data": data.digest,
        "subset": info.subset,
        "split": info.split,
        "sample": sample.model_dump(),
        "degradation": degradation,
        "seed": suite.seed,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
