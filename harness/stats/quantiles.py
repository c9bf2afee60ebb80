"""Quantiles by order statistics, with intervals that need no distribution; pure functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.intervals import LEVEL, Estimate, Interval


def percentile(values: ArrayLike, q: float, missing: int = 0, level: float = LEVEL) -> Estimate:
    """Return a quantile with its interval.

    The interval takes values as independent; latencies that queue behind each other are not quite, so that it is too
    narrow where a model is near its limit.

    Args:
        values: (n,), no nan.
        q: in (0, 1).
        missing: how many more never came, which count as infinitely late.
        level: of the interval.

    Returns:
        Nan where not one value is expected beyond ``q`` (n < 1 / (1 - q)) and where it falls among the missing ones;
        without an interval where n is below :func:`needed` and where its upper end falls among them. Its n counts them.
    """
    ordered = np.append(np.sort(np.asarray(values, np.float64)), np.full(missing, np.inf))
    n = ordered.size
    if n < fewest(q):
        return Estimate.bare(math.nan, n)
    value = order_statistic(ordered, q)
    if math.isinf(value):
        return Estimate.bare(math.nan, n)
    low, high = bounds(n, q, level)
    if low < 1 or high > n - missing:
        return Estimate.bare(value, n)
    return Estimate.of(value, Interval(float(ordered[low - 1]), float(ordered[high - 1])), n)


def order_statistic(ordered: NDArray[np.float64], q: float) -> float:
    """Return the smallest of (n,) ascending values, n >= 1, that at least a share ``q`` is not above."""
    return float(ordered[max(0, math.ceil(ordered.size * q - 1e-9) - 1)])


def bounds(n: int, q: float, level: float = LEVEL) -> tuple[int, int]:
    """Return the ranks, from 1, of the values that bound a quantile of ``n`` (Conover 1999, 3.2).

    The lower one is 0, and the upper one ``n + 1``, where no value does.
    """
    from scipy.stats import binom

    low, high = (int(binom.ppf(share, n, q)) for share in ((1 - level) / 2, (1 + level) / 2))
    return low, high + 1


def fewest(q: float) -> int:
    """Return how many values a quantile needs to be told at all."""
    return math.ceil(1 / (1 - q) - 1e-9)


def needed(q: float, level: float = LEVEL) -> int:
    """Return how many values the interval of a quantile above the median needs."""
    return math.ceil(math.log((1 - level) / 2) / math.log(q) - 1e-9)
