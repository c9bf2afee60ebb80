"""How much a grouping of things tells of their labels: cuts of a hierarchy, mutual information, a permutation test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import problem
from harness.stats.clustering import ALIKE, Clustering

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Association:
    """A grouping held against labels.

    Attributes:
        nmi: their normalised mutual information.
        chance: its mean over permutations of the labels.
        p: share of permutations that tell as much or more, the labels as they are counted among them.
    """

    nmi: float
    chance: float
    p: float


def cut(tree: Clustering, groups: int) -> tuple[tuple[str, ...], ...]:
    """Return the groups of a hierarchy that is cut where so many are left.

    Raises:
        ValueError: there are not 1..leaves groups.
    """
    if not 1 <= groups <= len(tree.order):
        raise ValueError(problem("groups", f"1..{len(tree.order)}", str(groups), "Ask for fewer"))
    found: set[tuple[str, ...]] = {(name,) for name in tree.order}
    for merge in tree.merges[: len(tree.order) - groups]:
        found = found - {merge.left, merge.right} | {merge.left + merge.right}
    return tuple(sorted(found, key=lambda group: tree.order.index(group[0])))


def association(
    groups: Sequence[Hashable], labels: Sequence[Hashable], permutations: int = 10_000, seed: int = 0
) -> Association:
    """Return how much groups tell of labels, and what chance tells.

    Mutual information is divided by the mean of the two entropies (Vinh et al., JMLR 2010; ``arithmetic`` in
    scikit-learn). It is high by chance alone where groups are many and things are few, so read it against ``chance``.

    Args:
        groups, labels: of the same things, (n,).
        permutations: random permutations of the labels.
        seed: of them.

    Raises:
        ValueError: groups and labels of different numbers of things.
    """
    if len(groups) != len(labels):
        got = f"{len(groups)} and {len(labels)}"
        raise ValueError(problem("groups and labels", "one of each a thing", got, "Pass the same things"))
    a, b = _one_hot(groups), _one_hot(labels)
    random = np.random.default_rng(seed)
    orders = random.permuted(np.tile(np.arange(len(labels)), (permutations, 1)), axis=1)
    nmi = float(_nmi(a, b[None])[0])
    shuffled = _nmi(a, b[orders])
    beyond = int(np.count_nonzero(shuffled >= nmi - ALIKE))
    return Association(nmi, float(shuffled.mean()), (beyond + 1) / (permutations + 1))


def _one_hot(items: Sequence[Hashable]) -> Floats:
    values = list(dict.fromkeys(items))
    return np.array([[item == value for value in values] for item in items], np.float64)


def _nmi(a: Floats, b: Floats) -> Floats:
    """Return normalised mutual information of groups (n, k) with each of many labellings (p, n, m), both one-hot."""
    n = len(a)
    joint = np.einsum("nk,pnm->pkm", a, b) / n
    own, other = _entropy(a.mean(axis=0)), _entropy(b[0].mean(axis=0))
    shared = own + other - _entropy(joint.reshape(len(b), -1))
    mean = (own + other) / 2
    return np.asarray(np.clip(shared / mean, 0, 1) if mean > ALIKE else np.ones(len(b)))


def _entropy(shares: Floats) -> Floats:
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1))
