"""Who is best, and who can't be told apart: ranks, and paired tests against the leader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.images.degrade import CLEAN
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, holm, mcnemar, pairwise, ranks_with_ties
from harness.tasks.answers import Floats, Outcomes
from harness.tasks.detection import Detection, Detector, Figures, cross_generator

RANKED_BY = "auroc"
"""Threshold-free, so that no detector loses its rank to the choice of a threshold."""


@dataclass(frozen=True)
class Standing:
    """One detector's place.

    Attributes:
        rank: 1 is best; detectors that can't be told apart share a rank.
        detector: which.
        figure: what it is ranked by: mean AUROC over generators new to it, clean images.
    """

    rank: int
    detector: Detector
    figure: Estimate


@dataclass(frozen=True)
class Comparison:
    """A detector held against the leader on the same images.

    Attributes:
        detector: its name.
        auroc: difference of the ranked figure, leader minus detector, with a paired bootstrap interval.
        auroc_p: Holm-adjusted p-value of that difference.
        accuracy: difference in accuracy over all clean images both answered.
        accuracy_p: Holm-adjusted exact McNemar p-value.
        images: how many those are.
    """

    detector: str
    auroc: Estimate
    auroc_p: float
    accuracy: float
    accuracy_p: float
    images: int


def standings(detection: Detection, condition: str = CLEAN) -> list[Standing]:
    """Rank the detectors by mean AUROC over the generators that are new to them; those without a figure are left out.

    A detector that was trained on every tested generator is ranked by all of them.
    """
    known = [(item, figure) for item in detection.detectors if (figure := _figure(item, condition)) is not None]
    ranks = ranks_with_ties([figure.value for _, figure in known], _pvalues([item for item, _ in known], condition))
    rows = [Standing(rank, item, figure) for rank, (item, figure) in zip(ranks, known, strict=True)]
    return sorted(rows, key=lambda row: (row.rank, -row.figure.value, row.detector.name))


def comparisons(table: Sequence[Standing], condition: str = CLEAN) -> list[Comparison]:
    """Hold every detector against the first one; Holm over the whole table."""
    if len(table) < 2:
        return []
    leader, others = table[0].detector, [row.detector for row in table[1:]]
    differences = [_draws(leader, condition) - _draws(other, condition) for other in others]
    pairs = [_paired(leader, other) for other in others]
    auroc_p = holm([bootstrap_p(item) for item in differences])
    accuracy_p = holm([mcnemar(a, b) for a, b in pairs])
    return [
        Comparison(
            detector=row.detector.name,
            auroc=Estimate.of(table[0].figure.value - row.figure.value, bootstrap_interval(difference), row.figure.n),
            auroc_p=p_auroc,
            accuracy=float(np.mean(a) - np.mean(b)) if len(a) else math.nan,
            accuracy_p=p_accuracy,
            images=len(a),
        )
        for row, difference, (a, b), p_auroc, p_accuracy in zip(
            table[1:], differences, pairs, auroc_p, accuracy_p, strict=True
        )
    ]


def _new_to(detector: Detector, condition: str) -> bool:
    return detector.mean(RANKED_BY, condition, cross_generator) is not None


def _figure(detector: Detector, condition: str) -> Estimate | None:
    if _new_to(detector, condition):
        return detector.mean(RANKED_BY, condition, cross_generator)
    return detector.mean(RANKED_BY, condition)


def _draws(detector: Detector, condition: str) -> Floats:
    keep = cross_generator if _new_to(detector, condition) else _any
    draws = detector.mean_draws(RANKED_BY, condition, keep)
    assert draws is not None
    return draws


def _any(_: Figures) -> bool:
    return True


def _pvalues(detectors: Sequence[Detector], condition: str) -> Floats:
    draws = [_draws(item, condition) for item in detectors]
    return pairwise(len(draws), lambda i, j: bootstrap_p(draws[i] - draws[j]))


def _paired(first: Detector, second: Detector) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether each detector was right, over the clean images that both answered."""
    a, b = (Outcomes.union([item.right for item in detector.figures.values()]) for detector in (first, second))
    return a.shared(b)
