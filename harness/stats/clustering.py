"""Average linkage of named things by their distances; knows nothing of what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

ALIKE = 1e-9
"""Figures that differ by less do so by rounding."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Two groups that become one.

    Attributes:
        left, right: the groups' members.
        distance: mean distance of a member of the one from a member of the other.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    distance: float


@dataclass(frozen=True, slots=True)
class Clustering:
    """A hierarchy over names.

    Attributes:
        order: the names such that every group stands together, and neighbours are as near as the hierarchy lets them.
        merges: nearest first; the last one holds every name.
        cophenetic: Pearson correlation of the distances with those at which the hierarchy joins the same pairs, 1 where
            it tells them all; nan where either are all alike.
    """

    order: tuple[str, ...]
    merges: tuple[Merge, ...]
    cophenetic: float


def average_linkage(names: Sequence[str], distances: NDArray[np.float64]) -> Clustering:
    """Cluster by average linkage (UPGMA; Sokal and Michener 1958), leaves in the order of Bar-Joseph et al. (2001).

    Args:
        names: of n >= 2 things.
        distances: symmetric (n, n) with a diagonal of 0.

    Raises:
        ValueError: ``distances`` is no such matrix, or not finite.
    """
    between = squareform(np.asarray(distances, np.float64))
    tree = hierarchy.linkage(between, "average", optimal_ordering=True)
    groups: list[tuple[str, ...]] = [(name,) for name in names]
    merges: list[Merge] = []
    for left, right, distance, _ in tree:
        merges.append(Merge(groups[int(left)], groups[int(right)], float(distance)))
        groups.append(groups[int(left)] + groups[int(right)])
    return Clustering(groups[-1], tuple(merges), _correlation(between, hierarchy.cophenet(tree)))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    alike = min(np.ptp(a), np.ptp(b)) < ALIKE
    return math.nan if alike else float(np.corrcoef(a, b)[0, 1])
