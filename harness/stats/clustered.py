"""McNemar's test where images come in clusters that change together; exact, and never resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import problem


def clustered_mcnemar(
    correct_a: ArrayLike, correct_b: ArrayLike, clusters: Sequence[str | int] | NDArray[np.generic]
) -> float:
    """Return the two-sided exact p-value that two models are equally often right, where clusters are exchanged whole.

    Were the two alike, each cluster's net change (images that only b has right, less those that only a has) could as
    well have had the other sign. The sum of these changes is held against its distribution over all signs, which is
    computed and not sampled. Of clusters of one image each this is McNemar's exact test; of larger ones, that test
    would count what changed together as evidence many times over.

    Args:
        correct_a, correct_b: whether each model was right on each image, bool (n,), images in the same order.
        clusters: the cluster of each image, (n,).

    Returns:
        p in (0, 1]; 1 where nothing changed.

    Raises:
        ValueError: the three are not over the same number of images.
    """
    from scipy.signal import fftconvolve
    from scipy.stats import binom

    a, b, groups = np.asarray(correct_a, bool), np.asarray(correct_b, bool), np.asarray(clusters)
    if not a.shape == b.shape == groups.shape:
        got = f"{a.shape}, {b.shape} and {groups.shape}"
        raise ValueError(problem("clustered_mcnemar", "the same images", got, "Join them by path first"))
    _, member = np.unique(groups, return_inverse=True)
    net = np.rint(np.bincount(member, weights=b.astype(np.float64) - a)).astype(np.int64)
    sizes, counts = np.unique(np.abs(net[net != 0]), return_counts=True)
    chances = np.ones(1)  # of each sum of the clusters' signs times their sizes, from the lowest, two apart
    for size, count in zip(sizes, counts, strict=True):
        mine = np.zeros(size * count + 1)
        mine[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = fftconvolve(chances, mine) if len(chances) > 1 else mine
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    tail = float(chances[np.abs(sums) >= abs(int(net.sum()))].clip(0).sum())
    return float(np.clip(tail, np.finfo(np.float64).tiny, 1.0))
