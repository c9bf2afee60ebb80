"""Percentiles of repeated measurements, and the ratio of two of them, on a log scale; knows nothing of machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.intervals import LEVEL, Estimate, Interval
from harness.stats.quantiles import bounds, order_statistic

BLOCKS = 10
"""Parts of a lone repeat whose figures tell how far it can be trusted."""

FEWEST = 5
"""Values that must lie beyond a percentile for it to be told."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The logarithm of a percentile, over the repeats of one measurement.

    Attributes:
        log: mean over repeats; ``exp`` of it is their geometric mean.
        variance: of that mean; nan where nothing tells it.
        freedom: degrees of freedom of that variance.
        between, within: standard deviations of one repeat's logarithm: as the repeats differ (nan for one), and as the
            values within them let expect.
        n: values in all.
    """

    log: float
    variance: float
    freedom: float
    between: float
    within: float
    n: int


def repeated_percentile(repeats: Sequence[ArrayLike], percent: float) -> Repeated:
    """Return a percentile of repeated measurements.

    The repeats' own spread tells how far the mean can be trusted; where they happen to agree more than their values let
    expect, the spread within them does. Of one alone, successive blocks do: values that follow each other are alike
    (batch means, Law and Kelton 2000, 9.5.3).

    Args:
        repeats: positive values of each in the order of time, (n_i,) with n_i >= 1.
        percent: 0..100.
    """
    if len(repeats) == 1:
        return _lone_percentile(np.asarray(repeats[0], np.float64), percent)
    share = percent / 100
    values = [np.sort(np.asarray(item, np.float64)) for item in repeats]
    logs = np.array([math.log(order_statistic(item, share)) for item in values])
    within = float(np.mean([_quantile_variance(item, share) for item in values]))
    between = float(np.var(logs, ddof=1))
    count = sum(item.size for item in values)
    freedom = len(logs) - 1.0 if between >= within else max(1.0, count - 1.0)
    variance = max(within, between) / len(logs)
    return Repeated(float(logs.mean()), variance, freedom, math.sqrt(between), math.sqrt(within), count)


def block_spread(repeats: Sequence[ArrayLike]) -> float:
    """Return how far the medians of successive blocks lie apart, as a share of the least.

    Args:
        repeats: as of :func:`repeated_percentile`; of several, block by block the mean of their medians is taken.

    Returns:
        0 where there are too few values to tell.
    """
    values = [np.asarray(item, np.float64) for item in repeats]
    count = min(BLOCKS, min(item.size for item in values) // (2 * FEWEST))
    if count < 2:
        return 0.0
    medians = np.mean([[np.median(block) for block in np.array_split(item, count)] for item in values], axis=0)
    return float(np.ptp(medians) / medians.min())


def ratio(
    before: Repeated, after: Repeated, between_runs: float = 0.0, freedom: float = math.inf
) -> tuple[Estimate, float]:
    """Return after / before - 1 with its interval, and the two-sided p-value that it is 0.

    A t-test of the difference of logarithms with unequal variances (Welch 1947), to whose variance that between runs
    is added once for each of the two; degrees of freedom after Satterthwaite (1946).

    Args:
        before, after: the two percentiles.
        between_runs: variance of a run's logarithm beyond what its repeats tell.
        freedom: degrees of freedom of that variance.

    Returns:
        Without an interval, and nan, where a variance is nan.
    """
    from scipy.special import stdtr, stdtrit

    parts = [(before.variance, before.freedom), (after.variance, after.freedom), (2 * between_runs, freedom)]
    variance = sum(part for part, _ in parts)
    difference = after.log - before.log
    n = before.n + after.n
    if not variance > 0:
        return Estimate.bare(math.expm1(difference), n), 1.0 if variance == difference == 0 else math.nan
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    error = math.sqrt(variance)
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    interval = Interval(math.expm1(difference - reach), math.expm1(difference + reach))
    return Estimate.of(math.expm1(difference), interval, n), 2 * float(stdtr(degrees, -abs(difference) / error))


def _lone_percentile(values: NDArray[np.float64], percent: float) -> Repeated:
    """Return a percentile of one repeat; its variance is nan where a block has too few values beyond it."""
    log, variance = math.log(order_statistic(np.sort(values), percent / 100)), math.nan
    if values.size // BLOCKS * (100 - percent) >= 100 * FEWEST:
        blocks = [math.log(order_statistic(np.sort(block), percent / 100)) for block in np.array_split(values, BLOCKS)]
        variance = float(np.var(blocks, ddof=1)) / BLOCKS
    return Repeated(log, variance, BLOCKS - 1.0, math.nan, math.sqrt(variance), values.size)


def _quantile_variance(ordered: NDArray[np.float64], share: float) -> float:
    """Return the variance of the logarithm of a sample quantile, from the order statistics that bound it."""
    low, high = bounds(ordered.size, share)
    reach = 2 * NormalDist().inv_cdf((1 + LEVEL) / 2)
    return (math.log(ordered[min(high, ordered.size) - 1] / ordered[max(low, 1) - 1]) / reach) ** 2
