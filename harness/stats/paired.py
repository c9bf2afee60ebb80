"""Which of several models differ on the same images, and the ranks that follow; never compares unpaired results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import problem

ALPHA = 0.05
"""Level at which a difference counts."""


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Return the two-sided exact p-value that two models are equally often right (McNemar 1947, binomial form).

    Args:
        correct_a, correct_b: whether each model was right on each image, bool (n,), images in the same order.

    Returns:
        p in (0, 1]; 1 where they never disagree.

    Raises:
        ValueError: the two are not over the same number of images.
    """
    from scipy.special import bdtr

    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape:
        raise ValueError(problem("mcnemar", "the same images", f"{a.shape} and {b.shape}", "Join them by path first"))
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def pairwise(count: int, test: Callable[[int, int], float]) -> NDArray[np.float64]:
    """Return the p-value of every two of ``count`` models, symmetric (count, count) with 1 on the diagonal."""
    p = np.ones((count, count))
    for i, j in combinations(range(count), 2):
        p[i, j] = p[j, i] = test(i, j)
    return p


def holm(pvalues: ArrayLike) -> list[float]:
    """Return p-values adjusted so that all of them hold together (Holm 1979), in the order given, at most 1."""
    values = np.asarray(pvalues, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)))
    adjusted = np.empty_like(values)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def ranks_with_ties(scores: Sequence[float], pvalues: ArrayLike, alpha: float = ALPHA) -> list[int]:
    """Return the models' ranks, 1 the best, where models that can't be told apart share one (1, 1, 3).

    The best model leads. Its p-values against all models below it are Holm-adjusted; walking down by score, models
    share its rank up to the first that is significantly worse. That one leads the next rank (one more than the number
    of models above it) and the walk goes on, with the p-values against *its* followers. Equal scores always tie.

    Args:
        scores: one figure a model, higher is better, no nan.
        pvalues: unadjusted paired p-values, symmetric, (m, m); the diagonal is not read.
        alpha: level of the adjusted p-values below which a difference counts.

    Returns:
        One rank a model, in the order given.

    Raises:
        ValueError: a score is nan, or there is not one p-value for each pair.
    """
    values, p = np.asarray(scores, np.float64), np.asarray(pvalues, np.float64)
    if np.isnan(values).any() or p.shape != (values.size, values.size):
        expected = f"a figure for each model and ({values.size}, {values.size}) p-values"
        raise ValueError(problem("ranks", expected, f"{values} and {p.shape}", "Leave models without a figure out"))
    order = [int(i) for i in np.argsort(-values, kind="stable")]
    ranks = [0] * len(order)
    place = 0
    while place < len(order):
        leader, followers = order[place], order[place + 1 :]
        ranks[leader] = first = place + 1
        place += 1
        for follower, adjusted in zip(followers, holm(p[leader, followers]), strict=True):
            if adjusted < alpha and values[follower] < values[leader]:
                break
            ranks[follower] = first
            place += 1
    return ranks
