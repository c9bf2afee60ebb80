"""Task `attribution`: from records to each method's figures, and the best held against the best baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.attributors import candidates, designs_of, families_of, source_of, trainings
from harness.card import Card
from harness.images.degrade import CLEAN
from harness.metrics.frechet import frechet_distance_ratio
from harness.plan import Cell
from harness.spec.tasks import AttributionTask
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, mcnemar, pairwise, ranks_with_ties
from harness.stats.paired import ALPHA
from harness.store.cells import CellStore
from harness.tasks.answers import Floats, Outcomes, counted
from harness.tasks.contrasts import resample_trainings
from harness.tasks.designs import Grouping, group
from harness.tasks.openset import OpenSet, open_set
from harness.tasks.told import ACCURACY, Told, confusion, family_of, figures, read_told, recall_of

MARGIN = 0.05
"""What the best method has to be better by than the best baseline."""

Place = tuple[str, str]
"""A condition and the name of a figure."""


@dataclass(frozen=True)
class Method:
    """A method's figures, averaged over its trainings; images of sources that it does not know are left out.

    Attributes:
        name: its models' names without their seeds.
        models: its trainings.
        sources: tested sources that it knows, in the order of its classes.
        answers: its classes.
        unseen: tested sources that it does not know.
        images: clean images behind its figures.
        failed: failed records of all trainings.
        estimates: by (condition, figure); intervals resample source images and trainings.
        draws: resampled values of the clean figures, joint over methods where images are concerned.
        fdr: Frechet distance ratio of the clean images' centred logits, one a training.
        confusion: shares of answers (sources, answers).
        calibration: accuracy on the calibration split; nan without one.
        right: whether clean images are attributed rightly, one a training.
    """

    name: str
    models: tuple[str, ...]
    sources: tuple[str, ...]
    answers: tuple[str, ...]
    unseen: tuple[str, ...]
    images: int
    failed: int
    estimates: Mapping[Place, Estimate]
    draws: Mapping[str, Floats]
    fdr: tuple[float, ...]
    confusion: Floats
    calibration: float
    right: tuple[Outcomes, ...]

    @property
    def accuracy(self) -> Estimate:
        """Accuracy on clean images."""
        return self.estimates[CLEAN, ACCURACY]


@dataclass(frozen=True)
class Against:
    """The best method against the best baseline, on the same images; both were chosen on the calibration split.

    Attributes:
        method, baseline: which.
        difference: in accuracy, method minus baseline; its interval resamples source images and trainings.
        p: of no difference, two-sided, from the same resamples.
        mcnemar: exact p-value for each training of the method beside the same training of the baseline.
        parts: the same difference of each family, or of each source where there are no families.
    """

    method: str
    baseline: str
    difference: Estimate
    p: float
    mcnemar: tuple[float, ...]
    parts: Mapping[str, Estimate]

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p < ALPHA

    @property
    def holds(self) -> bool:
        """Whether the method is better by the margin, and significantly better."""
        return self.difference.value >= MARGIN and self.significant


@dataclass(frozen=True)
class Attribution:
    """All figures of one attribution task.

    Attributes:
        task: its spec.
        sources: tested sources.
        methods: best first.
        ranks: by clean accuracy, of methods that know every tested source; those that can't be told apart (paired
            bootstrap, Holm, 5 %) share one.
        against: None where the task compares none.
        open_sets: of the methods that do not know all sources.
        groupings: the sources by each method's answers.
        pictured: the first training of the best method.
        shown: what it said of the clean images.
        records, failures: how many answers were asked for, and how many failed, by reason.
    """

    task: AttributionTask
    sources: Sequence[str]
    methods: Sequence[Method]
    ranks: Mapping[str, int]
    against: Against | None
    open_sets: Sequence[OpenSet]
    groupings: Sequence[Grouping]
    pictured: str
    shown: Told
    records: int
    failures: Mapping[str, int] = field(default_factory=dict)


def evaluate_attribution(
    task: AttributionTask,
    cells: Sequence[Cell],
    cards: Mapping[str, Card],
    store: CellStore,
    resamples: int,
    seed: int,
) -> Attribution:
    """Compute every figure of a task from its records.

    Args:
        task: the task.
        cells: its cells.
        cards: cards by model name.
        store: where the records lie.
        resamples: bootstrap resamples.
        seed: of all that is drawn; images are resampled alike for all methods, so that they stay paired.

    Raises:
        DataError: no image of the calibration split was answered.
    """
    own = {cell.model: cards[cell.model] for cell in cells}
    tested = dict.fromkeys(source_of(cell.subset) for cell in cells if cell.split == task.split)
    sources = list(
        dict.fromkeys([*(name for card in own.values() for name in card.classes if name in tested), *tested])
    )
    designs = designs_of(task)
    families = families_of(
        designs, dict.fromkeys([*sources, *(name for card in own.values() for name in card.classes)])
    )
    methods: list[Method] = []
    open_sets: list[OpenSet] = []
    groupings: list[Grouping] = []
    told_by: dict[str, Told] = {}
    failures: Counter[str] = Counter()
    for place, (name, models) in enumerate(trainings(own).items()):
        told = {
            where: [read_told(store, _asked(cells, model, *where), cards[model]) for model in models]
            for where in dict.fromkeys((cell.split, cell.degradation) for cell in cells if cell.model == models[0])
        }
        failures += counted(item.failures for items in told.values() for item in items)
        calibration = told.get((task.calibration or "", CLEAN), [])
        clean = told[task.split, CLEAN]
        methods.append(_method(task, name, models, sources, told, families, resamples, seed, place))
        told_by[models[0]] = clean[0]
        if calibration:
            found = open_set(name, list(zip(calibration, clean, strict=True)), task.fpr, resamples, seed)
            open_sets += [found] if found else []
        grouping = group(name, clean, designs, seed)
        groupings += [grouping] if grouping else []
    methods.sort(key=lambda item: (len(item.unseen) > 0, -np.nan_to_num(item.accuracy.value, nan=-1.0), item.name))
    chosen = candidates(task, own, tested)
    against = _against(methods, *chosen, sorted(set(families.values()))) if chosen else None
    best = next(item for item in methods if against is None or item.name == against.method)
    pictured = best.models[0]
    return Attribution(
        task=task,
        sources=sources,
        methods=methods,
        ranks=_ranks(methods),
        against=against,
        open_sets=open_sets,
        groupings=groupings,
        pictured=pictured,
        shown=told_by[pictured],
        records=sum(cell.images for cell in cells),
        failures=dict(sorted(failures.items())),
    )


def _asked(cells: Iterable[Cell], model: str, split: str, degradation: str) -> list[Cell]:
    return [cell for cell in cells if (cell.model, cell.split, cell.degradation) == (model, split, degradation)]


def _method(
    task: AttributionTask,
    name: str,
    models: Sequence[str],
    tested: Sequence[str],
    told: Mapping[tuple[str, str], Sequence[Told]],
    families: Mapping[str, str],
    resamples: int,
    seed: int,
    place: int,
) -> Method:
    """Return a method's figures; ``place`` keeps its trainings' resamples apart from those of other methods."""
    estimates: dict[Place, Estimate] = {}
    draws: dict[str, Floats] = {}
    for condition in task.degradations:
        closed = [item.only(item.known) for item in told[task.split, condition]]
        pooled = _pooled(closed, families, resamples, seed, place)
        estimates |= {(condition, key): estimate for key, (estimate, _) in pooled.items()}
        if condition == CLEAN:
            draws = {key: drawn for key, (_, drawn) in pooled.items()}
    clean = told[task.split, CLEAN]
    known = [item.only(item.known) for item in clean]
    knows = clean[0].knows
    sources = [source for source in knows if source in tested]
    right = [item.truth == item.said for item in known]
    trial = [item.only(item.known) for item in told.get((task.calibration or "", CLEAN), [])]
    return Method(
        name=name,
        models=tuple(models),
        sources=tuple(sources),
        answers=knows,
        unseen=tuple(sorted(set(tested) - set(knows))),
        images=max(len(item.ids) for item in known),
        failed=sum(sum(item.failures.values()) for items in told.values() for item in items),
        estimates=estimates,
        draws=draws,
        fdr=tuple(
            frechet_distance_ratio(item.centred, np.unique(item.truth, return_inverse=True)[1], seed=seed)
            for item in known
        ),
        confusion=np.asarray(np.mean([confusion(item, sources) for item in known], axis=0)),
        calibration=float(np.mean([_accuracy(item) for item in trial])) if trial else math.nan,
        right=tuple(Outcomes.of(item.ids, good) for item, good in zip(known, right, strict=True)),
    )


def _accuracy(told: Told) -> float:
    return float(np.mean(told.truth == told.said)) if len(told.ids) else math.nan


def _pooled(
    told: Sequence[Told], families: Mapping[str, str], resamples: int, seed: int, place: int
) -> dict[str, tuple[Estimate, Floats]]:
    """Return each figure of several trainings as their mean, with its resampled values."""
    found = [figures(item, families, resamples, seed) for item in told]
    pooled = {}
    for key in dict.fromkeys(key for item in found for key in item):
        known = [item[key] for item in found if key in item]
        drawn = resample_trainings(np.array([item.draws for item in known]), [0] * len(known), seed + place)
        value = float(np.mean([item.value for item in known]))
        pooled[key] = Estimate.of(value, bootstrap_interval(drawn), max(item.images for item in known)), drawn
    return pooled


def _ranks(methods: Sequence[Method]) -> dict[str, int]:
    closed = [item for item in methods if not item.unseen and not math.isnan(item.accuracy.value)]
    p = pairwise(len(closed), lambda i, j: bootstrap_p(closed[i].draws[ACCURACY] - closed[j].draws[ACCURACY]))
    ranks = ranks_with_ties([item.accuracy.value for item in closed], p)
    return {item.name: rank for item, rank in zip(closed, ranks, strict=True)}


def _against(
    methods: Sequence[Method], mine: Sequence[str], baselines: Sequence[str], families: Sequence[str]
) -> Against:
    """Hold the best method against the best baseline, each chosen by its accuracy on the calibration split."""
    best, other = (
        max(
            (item for item in methods if item.name in names),
            key=lambda item: (np.nan_to_num(item.calibration, nan=-1.0), item.name),
        )
        for names in (mine, baselines)
    )
    parts = {name: family_of(name) for name in families} or {name: recall_of(name) for name in best.sources}
    return Against(
        method=best.name,
        baseline=other.name,
        difference=_difference(best, other, ACCURACY),
        p=bootstrap_p(best.draws[ACCURACY] - other.draws[ACCURACY]),
        mcnemar=tuple(mcnemar(*a.shared(b)) for a, b in zip(best.right, other.right, strict=False)),
        parts={
            name: _difference(best, other, key)
            for name, key in parts.items()
            if key in best.draws and key in other.draws
        },
    )


def _difference(best: Method, other: Method, key: str) -> Estimate:
    value = best.estimates[CLEAN, key].value - other.estimates[CLEAN, key].value
    images = min(best.estimates[CLEAN, key].n, other.estimates[CLEAN, key].n)
    return Estimate.of(value, bootstrap_interval(best.draws[key] - other.draws[key]), images)
