"""Task `classification`: how often each model is right, and how far others decide as the one they were made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.card import Card
from harness.errors import DataError, problem
from harness.images.degrade import CLEAN
from harness.metrics.multiclass import calibration_error, divergence, log_probabilities, within_top
from harness.models import VARIANT
from harness.pairs import classifier_pairs
from harness.plan import Cell
from harness.spec.tasks import ClassificationTask
from harness.stats import Estimate, bootstrap_interval, bootstrap_mean, holm, mcnemar, pairwise, ranks_with_ties
from harness.stats.bootstrap import bootstrap, weighted_means
from harness.store.cells import CellStore
from harness.tasks.answers import Ids, Outcomes, answered, counted, hashed, scores_of

ROWS = 4096
"""Images whose probabilities are held at once."""

MOST_FLIPS = 24
"""Flips that are kept by name."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """What is kept of one model's answers under one condition: a few numbers an image.

    Attributes:
        samples: paths, a string array (n,).
        ids, sources: what paths and clusters hash to, uint64 (n,).
        targets: class indices, below 0 where an image has none, int64 (n,).
        predicted: the decision, int64 (n,).
        in_top5: whether the target is among the five highest, bool (n,).
        confidence: probability of the decision, (n,).
        nll: negative log probability of the target in nats, (n,).
        failures: failed records by reason.
    """

    samples: pa.ChunkedArray
    ids: Ids
    sources: Ids
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    in_top5: Bools
    confidence: Floats
    nll: Floats
    failures: Mapping[str, int]

    @property
    def known(self) -> Bools:
        """Which images have a target."""
        return self.targets >= 0

    @property
    def right(self) -> Bools:
        """Which decisions are right; false where there is no target."""
        return np.asarray(self.predicted == self.targets)

    @property
    def outcomes(self) -> Outcomes:
        """Whether the decisions on images with a target are right."""
        return Outcomes.of(self.ids[self.known], self.right[self.known])


@dataclass(frozen=True)
class ModelFigures:
    """One model under one condition.

    Attributes:
        model, condition: which.
        images: answered, with a target.
        failed: records that failed.
        estimates: ``top1`` and ``top5`` with Wilson intervals, ``nll`` (nats) and ``ece`` with bootstrap intervals
            clustered by source image; nan without a target.
    """

    model: str
    condition: str
    images: int
    failed: int
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Flip:
    """An image that two models decide differently; ``target`` is below 0 where there is none."""

    sample: str
    target: int
    reference: int
    candidate: int
    kl: float


@dataclass(frozen=True)
class PairFigures:
    """Two models on the same images.

    Attributes:
        reference, candidate, condition: which.
        images: answered by both.
        estimates: ``agreement`` (same decision), ``negative_flips`` (reference right, candidate wrong) and
            ``positive_flips`` as shares of the images (flips: of those with a target) with Wilson intervals; ``kl``,
            the mean divergence from the reference in nats, and ``top1_change``, candidate minus reference, with
            bootstrap intervals clustered by source image.
        p: McNemar's p-value that both are equally often right, Holm-adjusted over the condition's pairs (variants
            apart).
        largest: largest difference of any score.
        flips: disagreements, the largest divergence first, negative flips before all others.
    """

    reference: str
    candidate: str
    condition: str
    images: int
    estimates: Mapping[str, Estimate]
    p: float
    largest: float
    flips: Sequence[Flip]

    @property
    def variant(self) -> bool:
        """Whether it is one model asked in two ways."""
        return self.candidate.partition(VARIANT)[0] == self.reference


@dataclass(frozen=True)
class Classification:
    """All figures of one classification task.

    Attributes:
        task: its spec.
        conditions: degradations.
        models, pairs: their figures.
        records, failures: how many answers were asked for, and how many failed, by reason.
        ranks: by clean top-1, variants left out, 1 the best; models that McNemar's test (Holm, 5 %) can't tell apart
            share one, and a model without targets has none.
    """

    task: ClassificationTask
    conditions: Sequence[str]
    models: Sequence[ModelFigures]
    pairs: Sequence[PairFigures]
    records: int
    failures: Mapping[str, int]
    ranks: Mapping[str, int] = field(default_factory=dict)

    def of(self, condition: str) -> list[ModelFigures]:
        """Return the models under one condition, best top-1 first."""
        rows = [row for row in self.models if row.condition == condition]
        return sorted(rows, key=lambda row: (-np.nan_to_num(row.estimates["top1"].value, nan=-1.0), row.model))


def evaluate_classes(
    task: ClassificationTask,
    cells: Sequence[Cell],
    cards: Mapping[str, Card],
    store: CellStore,
    resamples: int,
    seed: int,
) -> Classification:
    """Compute every figure of a task from its records.

    Raises:
        CardError: a model that is no classifier, or two of a pair with different classes.
        DataError: a target that is none of a model's classes.
    """
    names = list(dict.fromkeys(cell.model for cell in cells))
    paired = classifier_pairs(task, {name: cards[name] for name in names})
    models: list[ModelFigures] = []
    pairs: list[PairFigures] = []
    failures: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    for condition in task.degradations:
        asked = {name: [c for c in cells if c.model == name and c.degradation == condition] for name in names}
        judged = {name: judge(asked[name], cards[name], store) for name in names}
        failures += counted(item.failures for item in judged.values())
        models += [_figures(name, condition, item, resamples, seed) for name, item in judged.items()]
        ranks = _ranks(judged) if condition == CLEAN else ranks
        rows = [
            _compare(store, (a, cards[a], judged[a], asked[a]), (b, cards[b], judged[b], asked[b]), resamples, seed)
            for a, b in paired
        ]
        for family in ([row for row in rows if not row.variant], [row for row in rows if row.variant]):
            pairs += [replace(row, p=p) for row, p in zip(family, holm([row.p for row in family]), strict=True)]
    records = sum(cell.images for cell in cells)
    return Classification(task, task.degradations, models, pairs, records, dict(sorted(failures.items())), ranks)


def judge(cells: Sequence[Cell], card: Card, store: CellStore) -> Judged:
    """Reduce one model's records under one condition to what figures need.

    Raises:
        DataError: a target that is none of the model's classes.
    """
    parts: list[tuple[NDArray[np.int64], Bools, Floats, Floats]] = []
    tables: list[pa.Table] = []
    failures: list[Mapping[str, int]] = []
    for cell in cells:
        good, failed = answered(store, cell)
        failures.append(failed)
        tables.append(good.select(["sample", "source", "target"]))
        targets = _targets(good)
        if targets.max(initial=-1) >= card.outputs:
            what, got = f"targets of {cell.data}", f"class {targets.max()}"
            do = f"Leave {cell.model} out of the task's models, or correct the targets"
            raise DataError(problem(what, f"one of the {card.outputs} classes of {cell.model}, from 0", got, do))
        for start in range(0, good.num_rows, ROWS):
            scores = scores_of(good.slice(start, ROWS), card.outputs)
            logs, wanted = log_probabilities(scores, card.score), targets[start : start + ROWS]
            predicted = scores.argmax(axis=1)
            rows = np.arange(len(scores))
            parts.append(
                (
                    predicted,
                    within_top(scores, wanted, 5),
                    np.exp(logs[rows, predicted]),
                    np.where(wanted >= 0, -logs[rows, np.maximum(wanted, 0)], np.nan),
                )
            )
    empty = (np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0), np.zeros(0))
    predicted, in_top5, confidence, nll = (np.concatenate(column) for column in zip(*(parts or [empty]), strict=True))
    whole = pa.concat_tables(tables)
    return Judged(
        samples=whole["sample"],
        ids=hashed(whole["sample"]),
        sources=hashed(whole["source"]),
        targets=_targets(whole),
        predicted=predicted,
        in_top5=in_top5,
        confidence=confidence,
        nll=nll,
        failures=counted(failures),
    )


def _ranks(judged: Mapping[str, Judged]) -> dict[str, int]:
    """Rank models by top-1 over the images that they have targets for."""
    names = [name for name, item in judged.items() if VARIANT not in name and item.known.any()]
    outcomes = {name: judged[name].outcomes for name in names}
    p = pairwise(len(names), lambda i, j: mcnemar(*outcomes[names[i]].shared(outcomes[names[j]])))
    shares = [float(judged[name].right[judged[name].known].mean()) for name in names]
    return dict(zip(names, ranks_with_ties(shares, p), strict=True))


def _targets(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(table["target"], -1).to_numpy(), np.int64)


def _figures(model: str, condition: str, item: Judged, resamples: int, seed: int) -> ModelFigures:
    known = item.known
    right, count = item.right[known], int(known.sum())
    confidence, nll, sources = item.confidence[known], item.nll[known], item.sources[known]

    def drawn(w: NDArray[np.uint16]) -> Floats:
        return np.stack([weighted_means(nll, w), calibration_error(confidence, right, weights=w)], axis=-1)

    nll_draws, ece_draws = bootstrap(drawn, sources, resamples, seed).T
    return ModelFigures(
        model=model,
        condition=condition,
        images=count,
        failed=sum(item.failures.values()),
        estimates={
            "top1": Estimate.of_rate(int(right.sum()), count),
            "top5": Estimate.of_rate(int(item.in_top5[known].sum()), count),
            "nll": Estimate.of(_mean(nll), bootstrap_interval(nll_draws), count),
            "ece": Estimate.of(
                float(calibration_error(confidence, right)),
                bootstrap_interval(ece_draws),
                count,
            ),
        },
    )


_Side = tuple[str, Card, Judged, Sequence[Cell]]
"""One of two models: its name, card, judged answers and cells under one condition."""


def _compare(store: CellStore, first: _Side, second: _Side, resamples: int, seed: int) -> PairFigures:
    (reference, _, a, _), (candidate, _, b, _) = first, second
    ids, here, there = np.intersect1d(a.ids, b.ids, return_indices=True)
    kl = np.zeros(len(ids))
    largest = 0.0
    for keys, values, difference in _divergences(store, first, second):
        kl[np.searchsorted(ids, keys)] = values
        largest = max(largest, difference)
    known = a.known[here]
    same = a.predicted[here] == b.predicted[there]
    right_a, right_b = a.right[here][known], b.right[there][known]
    sources, count = a.sources[here], int(known.sum())
    change = right_b.astype(np.float64) - right_a

    return PairFigures(
        reference=reference,
        candidate=candidate,
        condition=first[3][0].degradation,
        images=len(ids),
        estimates={
            "agreement": Estimate.of_rate(int(same.sum()), len(same)),
            "negative_flips": Estimate.of_rate(int((right_a & ~right_b).sum()), count),
            "positive_flips": Estimate.of_rate(int((right_b & ~right_a).sum()), count),
            "kl": bootstrap_mean(kl, sources, resamples, seed),
            "top1_change": bootstrap_mean(change, sources[known], resamples, seed),
        },
        p=mcnemar(right_a, right_b),
        largest=largest,
        flips=tuple(_flips(a, b, here, there, ~same, kl)),
    )


def _divergences(store: CellStore, first: _Side, second: _Side) -> Iterator[tuple[Ids, Floats, float]]:
    """Yield ids with their divergences, and the largest difference of a score, some thousand images at a time."""
    (_, card, _, cells), (_, other, _, others) = first, second
    for cell, twin in zip(cells, others, strict=True):
        left, right = answered(store, cell)[0], answered(store, twin)[0]
        _, here, there = np.intersect1d(left["position"].to_numpy(), right["position"].to_numpy(), return_indices=True)
        for start in range(0, len(here), ROWS):
            rows = left.take(pa.array(here[start : start + ROWS])), right.take(pa.array(there[start : start + ROWS]))
            a, b = scores_of(rows[0], card.outputs), scores_of(rows[1], other.outputs)
            kl = divergence(log_probabilities(a, card.score), log_probabilities(b, other.score))
            yield hashed(rows[0]["sample"]), kl, float(np.abs(a - b).max(initial=0.0))


def _flips(
    a: Judged, b: Judged, here: NDArray[np.intp], there: NDArray[np.intp], differ: Bools, kl: Floats
) -> Iterator[Flip]:
    places = np.flatnonzero(differ)
    negative = a.right[here[places]] & ~b.right[there[places]]
    for place in places[np.lexsort((-kl[places], ~negative))][:MOST_FLIPS]:
        i, j = here[place], there[place]
        name = a.samples[int(i)].as_py()
        yield Flip(name, int(a.targets[i]), int(a.predicted[i]), int(b.predicted[j]), float(kl[place]))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
