"""Task `difference`: how well each method marks what changed, which is chosen, and whether it beats the baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.difference.cells import DifferenceCell
from harness.difference.method import Method
from harness.images.degrade import CLEAN
from harness.spec.tasks import DifferenceTask
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, cluster_weights, holm, pairwise, ranks_with_ties
from harness.store.cells import CellStore

ALL = "all conditions"
"""Stands for the mean over a task's conditions."""

IOU, PIXEL_AP, POINTING, RECALL, PRECISION, AGREEMENT, FALSE_REGIONS = (
    *("iou", "pixel_ap", "pointing", "recall", "precision", "agreement", "false_regions"),
)

FIGURES: Mapping[str, str] = {
    IOU: "IoU",
    PIXEL_AP: "pixel AP",
    POINTING: "pointing game",
    RECALL: "spots found",
    PRECISION: "regions right",
    AGREEMENT: "agreement",
    FALSE_REGIONS: "regions where nothing changed",
}
"""Every figure by its key: means over pairs in which something changed; ``recall`` is the share of all spots that a
region's peak points at and ``precision`` the share of all regions whose peak does so; ``agreement`` how far
regions and spots are the same, 2 m / (spots + regions) over all pairs, with m spots that have a region each;
``false_regions`` the mean number of regions in pairs in which nothing changed."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MethodFigures:
    """One method.

    Attributes:
        method: which.
        rank: by the task's figure over all conditions; methods that a paired bootstrap (Holm, 5 %) can't tell apart
            share one.
        estimates: by condition, or ALL, and figure; intervals by bootstrap clustered by source.
        kinds: the task's figure over all conditions, by kind of change.
        seconds: median time of a map; nan where none was drawn.
    """

    method: Method
    rank: int
    estimates: Mapping[tuple[str, str], Estimate]
    kinds: Mapping[str, Estimate]
    seconds: float


@dataclass(frozen=True)
class Choice:
    """A method chosen on other pairs than those that are tested.

    Attributes:
        method: which.
        on: where: a split of this task's pairs, or the name of another task.
        score: the task's figure there, over all conditions; None where another task chose.
    """

    method: Method
    on: str
    score: Estimate | None


@dataclass(frozen=True)
class Gain:
    """The chosen method minus the baseline on the same pairs.

    Attributes:
        condition: or ALL.
        gain: difference of the task's figure with a paired bootstrap interval.
        p: of no difference, Holm-adjusted over the conditions.
    """

    condition: str
    gain: Estimate
    p: float


@dataclass(frozen=True)
class PairFigures:
    """What the chosen method makes of one pair, clean.

    Attributes:
        name: the pair's.
        spots, found, regions, right: as in :class:`harness.metrics.localisation.Found`.
        iou: of its mask.
    """

    name: str
    spots: int
    found: int
    regions: int
    right: int
    iou: float


@dataclass(frozen=True)
class Differences:
    """All figures of one difference task.

    Attributes:
        task: its spec.
        methods: best first.
        baseline: one of them.
        choice: None where nothing chooses, or nothing could be measured.
        gains: of the choice over the baseline; empty without a choice.
        pairs: of the choice, where pairs come from a table.
        records, failures: how many, and how many failed, by reason.
    """

    task: DifferenceTask
    methods: tuple[MethodFigures, ...]
    baseline: MethodFigures | None
    choice: Choice | None
    gains: tuple[Gain, ...]
    pairs: tuple[PairFigures, ...]
    records: int
    failures: Mapping[str, int]

    def of(self, method: Method) -> MethodFigures | None:
        """Return a method's figures; None where it was not measured."""
        return next((item for item in self.methods if item.method == method), None)


def evaluate_differences(
    task: DifferenceTask,
    cells: Sequence[DifferenceCell],
    store: CellStore,
    resamples: int,
    seed: int,
    chosen: Method | None = None,
) -> Differences:
    """Compute a task's figures from its records.

    Args:
        task: its spec.
        cells: its cells.
        store: their records.
        resamples: bootstrap resamples behind an interval.
        seed: of the resampling.
        chosen: the method that another task chose, which is among these methods.
    """
    frames = {split: _frame([cell for cell in cells if cell.split == split], store) for split in ("val", "test")}
    tested = frames[task.split]
    failures = Counter(error for frame in frames.values() for error in frame["error"].dropna())
    records = sum(len(frame) for frame in frames.values())
    methods = list(dict.fromkeys(method for cell in cells for method in cell.methods))
    known = [method for method in methods if _measured(tested, method.id)]
    if not known:
        return Differences(task, (), None, None, (), (), records, failures)
    table = _Table(tested, known, resamples, seed)
    choice = Choice(chosen, task.chosen_by or "", None) if chosen in known else None
    if task.calibration:
        held = [method for method in known if _measured(frames[task.calibration], method.id)]
        if held:
            choice = _choose(_Table(frames[task.calibration], held, resamples, seed), task)
    ranked = _ranked(table, task)
    baseline = next((item for item in ranked if item.method == task.baseline.method()), None)
    gains = _gains(table, task, choice, baseline) if choice and baseline else ()
    pairs = tuple(_pairs(tested, choice.method)) if choice and task.pairs.table else ()
    return Differences(task, ranked, baseline, choice, gains, pairs, records, failures)


def _frame(cells: Sequence[DifferenceCell], store: CellStore) -> pd.DataFrame:
    """Return all records of some cells with the method, condition and kind of each."""
    parts = []
    for cell in cells:
        part = store.read(cell.key).to_pandas()
        ids = np.array([method.id for method in cell.methods])
        part["method"] = ids[part["position"].to_numpy() % len(ids)]
        parts.append(part.assign(condition=cell.degradation, kind=cell.subset))
    empty = pd.DataFrame(columns=[*store.schema.names, "method", "condition", "kind"])
    return pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else empty


def _measured(frame: pd.DataFrame, method: str) -> bool:
    """Whether a method marked any pair in which something changed."""
    mine = frame[(frame["method"] == method) & frame["iou"].notna()]
    return bool((mine["spots"] > 0).any())


class _Table:
    """Figures of several methods over the same rows, a row being a pair under a condition.

    A method that fails on a pair that another one answers counts there as one that marks nothing; so all are held
    against each other on the same rows.

    Every figure is a ratio of two sums over rows: ``above`` and ``below`` hold what is summed, float64 (rows, methods).
    """

    def __init__(self, frame: pd.DataFrame, methods: Sequence[Method], resamples: int, seed: int) -> None:
        self.methods = methods
        ids = [method.id for method in methods]

        def laid_out(column: str) -> Floats:
            wide = frame.pivot(index=["condition", "kind", "sample"], columns="method", values=column)
            return wide.reindex(columns=ids).to_numpy(np.float64, na_value=np.nan)

        rows = frame.drop_duplicates(["condition", "kind", "sample"]).sort_values(["condition", "kind", "sample"])
        self.conditions, self.kinds = rows["condition"].to_numpy(), rows["kind"].to_numpy()
        sources = rows["source"].to_numpy(str)
        self.clusters = len(set(sources))
        self.weights = cluster_weights(sources, resamples, seed).astype(np.float64)
        spots, found, regions, right = (laid_out(name) for name in ("spots", "found", "regions", "right"))
        answered = ~np.isnan(spots).all(axis=1)
        there = np.where(answered, np.nan_to_num(spots, nan=-1.0).max(axis=1), np.nan)
        spots = np.broadcast_to(there[:, None], found.shape)
        changed = spots > 0
        self.above: dict[str, Floats] = {}
        self.below: dict[str, Floats] = {}
        for name in (IOU, PIXEL_AP, POINTING):
            self.above[name] = np.where(changed, np.nan_to_num(laid_out(name)), 0)
            self.below[name] = changed.astype(np.float64)
        self.above[RECALL] = np.nan_to_num(found)
        self.below[RECALL] = np.nan_to_num(spots)
        self.above[PRECISION] = np.where(changed, np.nan_to_num(right), 0)
        self.below[PRECISION] = np.where(changed, np.nan_to_num(regions), 0)
        self.above[AGREEMENT] = 2 * np.nan_to_num(np.minimum(found, right))
        self.below[AGREEMENT] = np.nan_to_num(spots) + np.nan_to_num(regions)
        self.above[FALSE_REGIONS] = np.where(spots == 0, np.nan_to_num(regions), 0)
        self.below[FALSE_REGIONS] = ((spots == 0) & ~np.isnan(regions)).astype(np.float64)
        self.seconds = laid_out("seconds")

    def where(self, condition: str = ALL, kind: str | None = None) -> NDArray[np.bool_]:
        """Return the rows of a condition and a kind of change, bool (rows,)."""
        there = (self.conditions == condition) | (condition == ALL)
        return np.asarray(there & ((self.kinds == kind) | (kind is None)), bool)

    def values(self, figure: str, rows: NDArray[np.bool_]) -> Floats:
        """Return a figure of every method, (methods,); nan where it is undefined."""
        return _ratio(self.above[figure][rows].sum(axis=0), self.below[figure][rows].sum(axis=0))

    def draws(self, figure: str, rows: NDArray[np.bool_]) -> Floats:
        """Return a figure of every method in every resample, (resamples, methods)."""
        weights = self.weights[:, rows]
        return _ratio(weights @ self.above[figure][rows], weights @ self.below[figure][rows])

    def estimates(self, figure: str, rows: NDArray[np.bool_]) -> list[Estimate]:
        """Return a figure of every method with its interval."""
        counts = (self.below[figure][rows] > 0).sum(axis=0)
        return [
            Estimate.of(value, bootstrap_interval(drawn), int(count))
            for value, drawn, count in zip(self.values(figure, rows), self.draws(figure, rows).T, counts, strict=True)
        ]


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def _choose(table: _Table, task: DifferenceTask) -> Choice:
    """Return the method of the task's largest figure; the first of equals."""
    best = int(np.nanargmax(table.values(task.rank_by, table.where())))
    return Choice(table.methods[best], str(task.calibration), table.estimates(task.rank_by, table.where())[best])


def _ranked(table: _Table, task: DifferenceTask) -> tuple[MethodFigures, ...]:
    figure = task.rank_by
    draws = table.draws(figure, table.where())
    p = pairwise(draws.shape[1], lambda i, j: bootstrap_p(draws[:, i] - draws[:, j], table.clusters))
    ranks = ranks_with_ties([float(value) for value in table.values(figure, table.where())], p)
    places = (ALL, *task.degradations)
    columns = {(place, name): table.estimates(name, table.where(place)) for place in places for name in FIGURES}
    changed = table.kinds[(table.below[IOU] > 0).any(axis=1)]
    kinds = {kind: table.estimates(figure, table.where(kind=kind)) for kind in sorted(set(changed))}
    rows = [
        MethodFigures(
            method=method,
            rank=ranks[place],
            estimates={key: found[place] for key, found in columns.items()},
            kinds={kind: found[place] for kind, found in kinds.items()},
            seconds=float(np.median(timed)) if len(timed := _known(table.seconds[:, place])) else math.nan,
        )
        for place, method in enumerate(table.methods)
    ]
    return tuple(sorted(rows, key=lambda row: (row.rank, -row.estimates[ALL, figure].value, row.method.id)))


def _gains(table: _Table, task: DifferenceTask, choice: Choice, baseline: MethodFigures) -> tuple[Gain, ...]:
    """Hold the choice against the baseline under every condition; none where it is the baseline."""
    if choice.method == baseline.method:
        return ()
    ours, theirs = (table.methods.index(method) for method in (choice.method, baseline.method))
    figure, found = task.rank_by, []
    for place in (ALL, *task.degradations):
        rows = table.where(place)
        values, draws = table.values(figure, rows), table.draws(figure, rows)
        drawn = draws[:, ours] - draws[:, theirs]
        count = int((table.below[figure][rows][:, ours] > 0).sum())
        gain = Estimate.of(float(values[ours] - values[theirs]), bootstrap_interval(drawn), count)
        found.append((place, gain, bootstrap_p(drawn, table.clusters)))
    adjusted = holm([p for _, _, p in found])
    return tuple(Gain(place, gain, p) for (place, gain, _), p in zip(found, adjusted, strict=True))


def _pairs(frame: pd.DataFrame, method: Method) -> Iterator[PairFigures]:
    mine = frame[(frame["method"] == method.id) & (frame["condition"] == CLEAN) & frame["iou"].notna()]
    for row in mine.sort_values("sample").to_dict("records"):
        spots, found, regions, right = (int(row[name]) for name in ("spots", "found", "regions", "right"))
        yield PairFigures(str(row["sample"]), spots, found, regions, right, float(row["iou"]))
