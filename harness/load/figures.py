"""Figures of latencies: percentiles with intervals, and whether they hold still. Pure functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats import Estimate, Interval
from harness.stats.intervals import LEVEL

LAST = 3
"""So many windows must agree."""


def percentile(values: ArrayLike, q: float, missing: int = 0, level: float = LEVEL) -> Estimate:
    """Return a quantile with the interval of order statistics that needs no distribution (Conover 1999, 3.2).

    The value is the smallest one that at least a share ``q`` is not above. The interval takes values as independent;
    latencies that queue behind each other are not quite, so that it is too narrow where a model is near its limit.

    Args:
        values: (n,), no nan.
        q: in (0, 1).
        missing: how many more never came, which count as infinitely late.
        level: of the interval.

    Returns:
        Nan where not one value is expected beyond ``q`` (n < 1 / (1 - q)) and where it falls among the missing ones;
        without an interval where n is below :func:`needed` and where its upper end falls among them. Its n counts them.
    """
    from scipy.stats import binom

    ordered = np.append(np.sort(np.asarray(values, np.float64)), np.full(missing, np.inf))
    n = ordered.size
    if n < fewest(q):
        return Estimate.bare(math.nan, n)
    value = float(ordered[max(0, math.ceil(n * q - 1e-9) - 1)])
    if math.isinf(value):
        return Estimate.bare(math.nan, n)
    low, high = (int(binom.ppf(share, n, q)) for share in ((1 - level) / 2, (1 + level) / 2))
    if low < 1 or high + 1 > n - missing:
        return Estimate.bare(value, n)
    return Estimate.of(value, Interval(float(ordered[low - 1]), float(ordered[high])), n)


def fewest(q: float) -> int:
    """Return how many values a quantile needs to be told at all."""
    return math.ceil(1 / (1 - q) - 1e-9)


def needed(q: float, level: float = LEVEL) -> int:
    """Return how many values the interval of a quantile above the median needs."""
    return math.ceil(math.log((1 - level) / 2) / math.log(q) - 1e-9)


def window_medians(when: ArrayLike, values: ArrayLike, windows: int) -> NDArray[np.float64]:
    """Return the median of each of some windows of equal length; nan of an empty one.

    Args:
        when: times of the values, (n,).
        values: (n,).
        windows: how many.

    Returns:
        float64 (windows,).
    """
    times, known = np.asarray(when, np.float64), np.asarray(values, np.float64)
    if not times.size:
        return np.full(windows, math.nan)
    length = np.ptp(times) / windows
    place = np.minimum((times - times.min()) / length, windows - 1).astype(int) if length > 0 else np.zeros(len(times))
    return np.array([np.median(known[place == k]) if (place == k).any() else math.nan for k in range(windows)])


def spread(medians: ArrayLike) -> float:
    """Return how far the medians of the last three windows are apart, as a share of the least; nan where one is."""
    last = np.asarray(medians, np.float64)[-LAST:]
    return float(np.ptp(last) / last.min()) if last.min() > 0 else math.nan
