"""Whether latencies hold still: medians of windows of time, and how far they are apart. Pure functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LAST = 3
"""So many windows must agree."""


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
