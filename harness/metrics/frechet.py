"""How far classes lie apart in an attributor's answers, as Gaussians; pure functions, knows no model."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST = 4
"""Images of a class below which it is left out: a half needs two for a covariance."""


def frechet_distance(first: Floats, second: Floats) -> float:
    """Return the squared Frechet distance of two Gaussians fitted to samples (Dowson and Landau 1982), at least 0.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, with means m and unbiased covariances C; singular ones will do.

    Args:
        first, second: (n, d) and (m, d), n, m >= 2.
    """
    shift = first.mean(axis=0) - second.mean(axis=0)
    a, b = (np.atleast_2d(np.cov(item, rowvar=False)) for item in (first, second))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    return max(0.0, float(shift @ shift + np.trace(a) + np.trace(b) - 2 * shared))


def frechet_distance_ratio(points: Floats, classes: NDArray[np.int64], splits: int = 5, seed: int = 0) -> float:
    """Return the Frechet distance ratio (FDR): mean distance between classes over mean distance within them.

    Each class is a Gaussian fitted to its points. Between: :func:`frechet_distance` averaged over all pairs of classes.
    Within: the same of two random halves of a class, averaged over its random splits and then over classes; what it
    measures is how well so few points tell a Gaussian. The ratio does not depend on the scale of ``points``, is about
    1/2 where classes are alike, and grows with the number of points a class: compare only figures of the same images.
    ManiFPT (Song et al., CVPR 2024) reports a ratio of this name without its formula.

    Args:
        points: (n, d).
        classes: (n,); classes of fewer than four points are left out.
        splits: random splits of each class.
        seed: of the splits.

    Returns:
        The ratio; nan with fewer than two classes, infinity where halves are the same Gaussian and classes are not.
    """
    groups = [points[classes == item] for item in np.unique(classes)]
    groups = [group for group in groups if len(group) >= FEWEST]
    if len(groups) < 2:
        return math.nan
    between = np.mean([frechet_distance(a, b) for a, b in combinations(groups, 2)])
    within = np.mean([_halves(group, splits, seed) for group in groups])
    if within <= 0:
        return math.inf if between > 0 else math.nan
    return float(between / within)


def _halves(group: Floats, splits: int, seed: int) -> float:
    random = np.random.default_rng(seed)
    half = len(group) // 2
    orders = (random.permutation(len(group)) for _ in range(splits))
    return float(np.mean([frechet_distance(group[order[:half]], group[order[half:]]) for order in orders]))
