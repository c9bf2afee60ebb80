"""Resampling of whole clusters, the same for every model, and what is read off it; knows no metric of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.intervals import LEVEL, Estimate, Interval

Counts = NDArray[np.uint16]
"""How often each image was drawn, (b, n)."""

CHUNK = 1 << 18
"""Most counts held at once; drawing them takes some 16 bytes each."""

FEWEST_CLUSTERS = 2
"""Clusters below which nothing can be resampled."""

FEWEST = 10
"""Resamples beyond 0 that a p-value is counted from."""

ALIKE = 1e-12
"""Resamples that differ less than this are the same but for rounding."""


def resamples(clusters: Sequence[str | int] | NDArray[np.generic], repeats: int, seed: int) -> Iterator[Counts]:
    """Yield bootstrap resamples of the images, a bounded chunk at a time.

    A cluster (a photograph and all that was made of it) is drawn whole, with replacement, as often as there are
    clusters. The draws depend on the sorted cluster names, ``repeats`` and ``seed`` alone, so two models asked of the
    same images meet the same resamples, in whatever order their images come, and their differences are paired. Of one
    cluster alone every resample would be the same, as if nothing could vary: its counts are 0, which no figure has a
    value for.

    Args:
        clusters: the cluster of each image, (n,).
        repeats: number of resamples.
        seed: of the generator.

    Yields:
        Counts (b, n); the chunks' b add up to ``repeats``.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if names.size < FEWEST_CLUSTERS:
        yield np.zeros((repeats, member.size), np.uint16)
        return
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // member.size)
    for start in range(0, repeats, step):
        rows = min(step, repeats - start)
        draws = generator.integers(names.size, size=(rows, names.size))
        draws += np.arange(rows)[:, None] * names.size
        drawn = np.bincount(draws.ravel(), minlength=rows * names.size).astype(np.uint16)
        yield drawn.reshape(rows, names.size)[:, member]


def cluster_weights(clusters: Sequence[str | int] | NDArray[np.generic], repeats: int, seed: int) -> Counts:
    """Return all of ``resamples`` at once, (repeats, n): 2 bytes a count, so 48 MB for 1,000 resamples of 24,000."""
    return np.concatenate([np.zeros((0, len(clusters)), np.uint16), *resamples(clusters, repeats, seed)])


def bootstrap(
    statistic: Callable[[Counts], NDArray[np.float64]],
    clusters: Sequence[str | int] | NDArray[np.generic],
    repeats: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return ``statistic`` of every resample in bounded memory.

    Args:
        statistic: maps counts (b, n) to values (b, ...), for example ``lambda w: auroc(scores, labels, w)``.
        clusters: the cluster of each image, (n,).
        repeats: number of resamples, at least 1.
        seed: of the generator.

    Returns:
        (repeats, ...) float64.
    """
    return np.concatenate([statistic(counts) for counts in resamples(clusters, repeats, seed)])


def bootstrap_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the percentile interval of resampled values (B,).

    Resamples without a value (nan: a class was not drawn) are left out; with none left the bounds are nan.
    """
    known = _known(values)
    if not known.size:
        return Interval(math.nan, math.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap_mean(
    values: NDArray[np.float64], clusters: Sequence[str | int] | NDArray[np.generic], repeats: int, seed: int
) -> Estimate:
    """Return the mean of ``values`` (n,) with its percentile interval; nan where there are none."""
    draws = bootstrap(lambda counts: weighted_means(values, counts), clusters, repeats, seed)
    return Estimate.of(float(values.mean()) if len(values) else math.nan, bootstrap_interval(draws), len(values))


def weighted_means(values: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """Return the mean of ``values`` (n,) under each row of counts (b, n); nan where a row has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((counts @ values) / counts.sum(axis=1))


def bootstrap_p(differences: ArrayLike, clusters: int | None = None) -> float:
    """Return the two-sided p-value of "no difference" from paired resampled differences (B,).

    Twice the smaller share of resamples on either side of 0, 0 itself counting on both and one added to count and
    total alike (Davison and Hinkley 1997, 4.2). Counting can say nothing below ``2 / (B + 1)``, which a correction over
    many comparisons would never let through; so where fewer than ten of at least a hundred resamples lie beyond 0, and
    they differ at all, their tail is taken to be that of a normal distribution with their mean and deviation, if that
    is the smaller p. Of few clusters the tail is Student's with one degree of freedom less than there are clusters,
    whose deviation resampling makes too small by sqrt((n - 1) / n). Nan without values.

    Args:
        differences: of the resamples.
        clusters: how many were resampled; None where they are many.
    """
    from scipy.special import ndtr, stdtr

    known = _known(differences)
    if not known.size:
        return math.nan
    tail = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    counted = min(1.0, 2 * (tail + 1) / (known.size + 1))
    if tail >= FEWEST or known.size < 10 * FEWEST or np.ptp(known) <= ALIKE:
        return counted
    far = -abs(known.mean()) / known.std(ddof=1)
    if clusters is not None:
        return 2 * float(stdtr(clusters - 1, far * math.sqrt((clusters - 1) / clusters)))
    return min(counted, 2 * float(ndtr(far)))


def _known(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[~np.isnan(array)]
