"""From suite, models and data sets to cells: what will be asked, each under its content hash. Asks nothing itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.arms import detector_names, find_arms
from harness.attributors import check_attributors, source_of
from harness.card import DERIVED, Card
from harness.data.sample import FAKE, Dataset, SubsetInfo, reals_for
from harness.data.spots import PairSet
from harness.difference.cells import DifferenceCell, difference_cells
from harness.environment import source_digest
from harness.errors import SuiteError, problem
from harness.fingerprints.representations import Artifact, parse_representation
from harness.images.degrade import CLEAN
from harness.keys import content_key
from harness.lineage import check_lineage
from harness.load.cells import LoadCell, load_cells
from harness.models import Model
from harness.names import select
from harness.pairs import Roles, check_detectors, classifier_pairs, search_roles
from harness.search.registry import parse_searcher
from harness.spec.loading import LoadTask
from harness.spec.suite import SampleSpec, Suite
from harness.spec.tasks import (
    AskingTask,
    AttributionTask,
    ClassificationTask,
    DetectionTask,
    DifferenceTask,
    DisagreementTask,
)
from harness.spec.thresholds import AtFprThreshold, CalibratedThreshold

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
        return "/".join((self.task, self.model, self.subset, self.split, self.degradation, f"batch {self.batch}"))


@dataclass(frozen=True, slots=True)
class SearchCell:
    """One (task, pair, searcher, subset): the unit of a disagreement search.

    Attributes:
        key: SHA-256 of everything that the searches depend on.
        task: its name.
        roles: the models.
        searcher: canonical id.
        seeds: the cells that tell which images both models decide alike: the white model's and the black one's in
            batches, then one image at a time.
        rule: ``agree`` or ``agree_and_correct``.
    """

    key: str
    task: str
    roles: Roles
    searcher: str
    seeds: tuple[Cell, Cell, Cell, Cell]
    rule: str

    @property
    def images(self) -> int:
        """How many images seeds are chosen from."""
        return self.seeds[0].images

    @property
    def name(self) -> str:
        """Readable address, unique in a plan."""
        return "/".join((self.task, self.roles.name, self.searcher, self.seeds[0].subset, self.seeds[0].split))


@dataclass(frozen=True)
class Plan:
    """All cells of a run, the searches that begin where its cells agree, drawings, loads, and files that tasks read.

    Attributes:
        cells, searches: the former two.
        differences: drawings of maps of pairs of images.
        loads: ways of sending requests to models.
        files: digest of the file that a task reads in place of answers, by the task's name.
    """

    cells: tuple[Cell, ...]
    searches: tuple[SearchCell, ...] = ()
    differences: tuple[DifferenceCell, ...] = ()
    loads: tuple[LoadCell, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all keys."""
        keys = [*(cell.key for cell in self._named), *self.files.values()]
        return hashlib.sha256("\n".join(keys).encode()).hexdigest()

    @property
    def answers(self) -> int:
        """How many answers the plan asks for."""
        return sum(cell.images for cell in self.cells)

    @property
    def keys(self) -> dict[str, str]:
        """Keys of cells, searches and files by their names."""
        return {**{cell.name: cell.key for cell in self._named}, **self.files}

    @property
    def _named(self) -> list[Cell | SearchCell | DifferenceCell | LoadCell]:
        return [*self.cells, *self.searches, *self.differences, *self.loads]

    def of(self, task: str) -> list[Cell]:
        """Return one task's cells."""
        return [cell for cell in self.cells if cell.task == task]

    def searches_of(self, task: str) -> list[SearchCell]:
        """Return one task's searches."""
        return [cell for cell in self.searches if cell.task == task]

    def differences_of(self, task: str) -> list[DifferenceCell]:
        """Return one task's drawings of pairs."""
        return [cell for cell in self.differences if cell.task == task]

    def loads_of(self, task: str) -> list[LoadCell]:
        """Return one task's loads."""
        return [cell for cell in self.loads if cell.task.name == task]


def make_plan(
    suite: Suite,
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    limit: int | None = None,
    nonce: str = "",
    files: Mapping[str, str] | None = None,
    pairs: Mapping[str, PairSet] | None = None,
) -> Plan:
    """Lay out the cells.

    Args:
        suite: the suite.
        models: opened models by name.
        datasets: opened data sets by name.
        limit: at most so many images per subset, below what the suite says.
        nonce: makes answers of endpoints that don't say which weights they serve valid for one run only, and loads.
        files: digests of the files that tasks read in place of answers, by task.
        pairs: opened pairs of images, by difference task.

    Raises:
        SuiteError: wildcards that match nothing, or a split without images.
    """
    planner = _Planner(suite, models, nonce, limit)
    cells: list[Cell] = []
    searches: list[SearchCell] = []
    differences: list[DifferenceCell] = []
    loads: list[LoadCell] = []
    for task in suite.tasks:
        if isinstance(task, DifferenceTask):
            differences += planner.differences(task, (pairs or {})[task.name])
        if not isinstance(task, AskingTask):
            continue
        if isinstance(task, DisagreementTask):
            searches += planner.searches(task, datasets[task.data])
        elif isinstance(task, LoadTask):
            loads += planner.loads(task, datasets[task.data])
        else:
            cells += planner.cells(task, datasets[task.data])
    needed = {cell.key: cell for search in searches for cell in search.seeds}
    return Plan((*cells, *needed.values()), tuple(searches), tuple(differences), tuple(loads), files or {})


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


class _Planner:
    """Makes the cells of one suite."""

    def __init__(self, suite: Suite, models: Mapping[str, Model], nonce: str, limit: int | None) -> None:
        self.suite, self.models, self.nonce, self.limit = suite, models, nonce, limit
        self.cards = {name: model.card for name, model in models.items()}
        own = {name: _identity(model, nonce) for name, model in models.items()}
        self.identities = {
            name: {**identity, **({"embedder": own[embedder]} if (embedder := embedder_of(self.cards[name])) else {})}
            for name, identity in own.items()
        }

    def cells(self, task: DetectionTask | ClassificationTask | AttributionTask, data: Dataset) -> Iterator[Cell]:
        """Yield the cells of a task that asks about images as they are."""
        answering = [
            name
            for name, card in self.cards.items()
            if _meant(task, card) or (name in task.models and card.task not in DERIVED)
        ]
        names = select(task.models, answering, f"task {task.name}: models")
        chosen = {name: self.cards[name] for name in names}
        if isinstance(task, DetectionTask):
            check_detectors(task, chosen)
            check_lineage(task, tested_subsets(task, data.subsets())[0], chosen)
            find_arms(task, [item for name, card in chosen.items() for item in detector_names(name, card)])
            wanted = _asked_in_detection(task, data.subsets())
        elif isinstance(task, AttributionTask):
            wanted = _asked_of_sources(task, data.subsets())
            check_attributors(task, chosen, {source_of(info.subset) for info, _ in wanted if info.split == task.split})
        else:
            classifier_pairs(task, chosen)
            wanted = _asked_of_classes(task, data.subsets())
        for info, degradation in wanted:
            for name in names:
                yield self._cell(task, name, data, info, degradation, self.models[name].backend.options.batch)

    def searches(self, task: DisagreementTask, data: Dataset) -> Iterator[SearchCell]:
        """Yield a task's searches."""
        searchers = [parse_searcher(value) for value in task.searchers]
        code = source_digest("search")
        for roles in search_roles(task, searchers, self.cards):
            for info, _ in _asked_of_classes(task, data.subsets()):
                batches = [self.models[name].backend.options.batch for name in (roles.white, roles.black)]
                white, black, white_alone, black_alone = (
                    self._cell(task, name, data, info, CLEAN, batch)
                    for name, batch in zip((roles.white, roles.black) * 2, (*batches, 1, 1), strict=True)
                )
                seeds = (white, black, white_alone, black_alone)
                for searcher in searchers:
                    mine = roles.lent(searcher)
                    said = {
                        "seeds": [cell.key for cell in seeds],
                        "gradient": self.identities[mine.gradient] if mine.gradient else None,
                        "searcher": searcher.id,
                        "rule": task.seeds,
                        "code": code,
                    }
                    yield SearchCell(content_key(said), task.name, mine, searcher.id, seeds, task.seeds)

    def differences(self, task: DifferenceTask, pairs: PairSet) -> Iterator[DifferenceCell]:
        """Yield a task's drawings of pairs."""
        cams = {name: self.identities[name] for name, card in self.cards.items() if card.task == "gradcam"}
        return difference_cells(task, pairs, cams, self.limit, self.suite.seed)

    def loads(self, task: LoadTask, data: Dataset) -> Iterator[LoadCell]:
        """Yield a task's loads."""
        return load_cells(task, data, self.cards, self.identities, self.limit, self.suite.seed, self.nonce)

    def _cell(self, task: AskingTask, name: str, data: Dataset, info: SubsetInfo, degradation: str, batch: int) -> Cell:
        sample = self.suite.data[task.data].resolved().sample
        limits = [value for value in (sample.per_subset, self.limit) if value is not None]
        sample = SampleSpec(per_subset=min(limits) if limits else None, seed=sample.seed)
        said = {
            **self.identities[name],
            "version": RECORD_VERSION,
            "batch": batch,
            "data": data.digest,
            **({"ready": True} if data.ready else {}),
            "subset": info.subset,
            "split": info.split,
            "sample": sample.model_dump(),
            "degradation": degradation,
            "seed": self.suite.seed,
        }
        return Cell(
            key=content_key(said),
            task=task.name,
            model=name,
            data=task.data,
            subset=info.subset,
            label=info.label,
            split=info.split,
            degradation=degradation,
            images=min(info.count, sample.per_subset or info.count),
            sample=sample,
            batch=batch,
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


def _asked_of_classes(
    task: ClassificationTask | DisagreementTask | AttributionTask, infos: Sequence[SubsetInfo]
) -> list[tuple[SubsetInfo, str]]:
    """Return the subsets of a task on classes with their degradations; seeds of searches are clean."""
    here = {info.subset for info in infos if info.split == task.split}
    if not here:
        raise _no_images(task, infos)
    chosen = set(select(task.subsets, sorted(here), f"task {task.name}: subsets"))
    return [
        (info, degradation)
        for info in infos
        if info.split == task.split and info.subset in chosen
        for degradation in ([CLEAN] if isinstance(task, DisagreementTask) else task.degradations)
    ]


def _asked_of_sources(task: AttributionTask, infos: Sequence[SubsetInfo]) -> list[tuple[SubsetInfo, str]]:
    """Return the subsets of an attribution task with their degradations, and its calibration split's, clean."""
    wanted = _asked_of_classes(task, infos)
    tested = {info.subset for info, _ in wanted}
    held = [info for info in infos if info.split == task.calibration and info.subset in tested]
    if task.calibration and {info.subset for info in held} != tested:
        lacking = sorted(tested - {info.subset for info in held})
        what, do = f"task {task.name}: calibration", "Name another split, or `calibration: null`"
        raise SuiteError(problem(what, f"images of split {task.calibration}", f"none of {', '.join(lacking)}", do))
    return [*wanted, *((info, CLEAN) for info in held)]


def _no_images(task: AskingTask, infos: Sequence[SubsetInfo]) -> SuiteError:
    splits = f"Splits: {sorted({info.split for info in infos})}"
    return SuiteError(problem(f"task {task.name}", f"images of split {task.split}", "none", splits))


def embedder_of(card: Card) -> str | None:
    """Return the name of the model that embeds what a card's model is asked about; None where there is none."""
    kind = parse_representation(card.represent) if card.represent else None
    return kind.embedder if isinstance(kind, Artifact) else None


def _meant(task: AskingTask, card: Card) -> bool:
    """Whether a task's wildcards mean models of such cards; a third party's card does not tell a classifier."""
    if isinstance(task, AttributionTask):
        return card.task == "attribution"
    return card.task not in (*DERIVED, "embedding", "attribution")


def _identity(model: Model, nonce: str) -> dict[str, object]:
    """Return what a model's answers depend on, the images, their batches and an embedder apart."""
    return {
        "weights": model.info.weights_sha256 or nonce,
        "card": model.card.digest(),
        "transport": model.transport,
        "platform": model.info.platform,
        "optimisation": model.backend.options.optimisation,
    }
