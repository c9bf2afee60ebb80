"""Whose child a generator is: cross-detection figures, held against chance by a permutation test. Reads no record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, permutations

import numpy as np
from numpy.typing import NDArray

from harness.fingerprints.bank import Bank
from harness.images.degrade import CLEAN
from harness.stats import Estimate, bootstrap_interval
from harness.stats.clustering import ALIKE, Clustering, average_linkage
from harness.tasks.correlation import FEWEST, METRIC, distances, images_behind, similarities, trained
from harness.tasks.cross import Family, families
from harness.tasks.detection import Detection, Figures, defined, joint_draws, joint_mean

Floats = NDArray[np.float64]

MOST_EXACT = 20_000
"""Relabellings that are enumerated; of more, so many are drawn."""


@dataclass(frozen=True)
class Child:
    """A generator that was fine-tuned from another.

    Attributes:
        name, parent: which.
        ranking: every base with its similarity, nearest first.
        ahead: similarity to its parent minus the mean of those to the other bases.
    """

    name: str
    parent: str
    ranking: tuple[tuple[str, Estimate], ...]
    ahead: Estimate

    @property
    def rank(self) -> int:
        """Place of its own parent, from 1."""
        return 1 + [name for name, _ in self.ranking].index(self.parent)


@dataclass(frozen=True)
class Lineage:
    """Cross-detection among generators by one architecture's detectors, or one bank's fingerprints; clean images.

    Attributes:
        name: of the architecture or bank.
        model: the bank; None where the detectors are several models.
        rows: generators that a detector was trained on, in the order of the tree where there is one.
        columns: tested generators: the rows, then the others.
        matrix: AUROC of the detector of each row on each column, against real images.
        clustering: of the rows, by the distances of :mod:`harness.tasks.correlation`; None of fewer than three.
        children: nearest to its own parent or not, in the suite's order; none where no children are known.
        ahead: mean over children; the statistic of the test.
        p: its one-sided p-value, nan without children.
        relabellings: how many ways to name the parents it was counted from.
        bases: generators that are no children.
        untested: children that the suite names and the test leaves out.
    """

    name: str
    model: str | None
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: tuple[tuple[Estimate | None, ...], ...]
    clustering: Clustering | None
    children: tuple[Child, ...] = ()
    ahead: Estimate | None = None
    p: float = math.nan
    relabellings: int = 0
    bases: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()


def trace(detection: Detection, parents: Mapping[str, str], seed: int) -> tuple[Lineage, ...]:
    """Return the lineage by every architecture, or bank, that has detectors of several generators, each of one alone.

    Similarity is that of :mod:`harness.tasks.correlation`: the mean of the two cross AUROCs; of a child without a
    detector of its own, the one AUROC of the base's detector on the child's images.

    Args:
        detection: figures.
        parents: child to parent; may be empty.
        seed: of relabellings, where they are too many to enumerate.
    """
    found = (_trace(family, detection, parents, seed) for family in families(detection))
    return tuple(item for item in found if item is not None)


def _trace(family: Family, detection: Detection, parents: Mapping[str, str], seed: int) -> Lineage | None:
    own = trained(replace(detection, detectors=family.detectors))
    if not own:
        return None
    names = sorted(detection.generators, key=lambda name: name not in own)
    cells = [[[item.figures[CLEAN, tested] for item in own.get(name, ())] for tested in names] for name in names]
    auroc, draws = _tables(cells)
    clustering = _tree([name for name in names if name in own], likeness(auroc))
    order = [*(clustering.order if clustering else own), *(name for name in names if name not in own)]
    place = [names.index(name) for name in order]
    models = {item.model for item in family.detectors}
    lineage = Lineage(
        name=family.name,
        model=models.pop() if len(models) == 1 else None,
        rows=tuple(order[: len(own)]),
        columns=tuple(order),
        matrix=tuple(tuple(joint_mean(cells[a][b], METRIC) for b in place) for a in place[: len(own)]),
        clustering=clustering,
    )
    bases = [name for name in lineage.rows if name not in parents]
    mine = [child for child, parent in parents.items() if parent in bases and child in names]
    rows, columns = ([names.index(name) for name in group] for group in (mine, bases))
    near, drawn = (likeness(table)[..., rows, :][..., columns] for table in (auroc, draws))
    if not mine or len(bases) < 2 or np.isnan(near).any():
        return replace(lineage, untested=tuple(parents))
    own_parent = [bases.index(parents[child]) for child in mine]
    behind = [[[*cells[a][b], *cells[b][a]] for b in columns] for a in rows]
    statistic, p, relabellings = parent_test(near, own_parent, seed)
    gaps = ahead(drawn)[:, range(len(mine)), own_parent]
    return replace(
        lineage,
        children=tuple(
            _child(child, parents[child], bases, near[i], drawn[:, i], behind[i]) for i, child in enumerate(mine)
        ),
        ahead=Estimate.of(statistic, bootstrap_interval(gaps.mean(axis=1)), images_behind(*chain(*behind))),
        p=p,
        relabellings=relabellings,
        bases=tuple(bases),
        untested=tuple(child for child in parents if child not in mine),
    )


def _tables(cells: Sequence[Sequence[Sequence[Figures]]]) -> tuple[Floats, Floats]:
    """Return the AUROCs (trained on, tested on) and their resamples (resamples, ...), nan where there is none."""
    known = [[defined(cell, METRIC) for cell in row] for row in cells]
    repeats = max((len(item.draws[METRIC]) for row in known for cell in row for item in cell), default=0)
    value = [[figure.value if (figure := joint_mean(cell, METRIC)) else np.nan for cell in row] for row in known]
    draws = [[joint_draws(cell, METRIC) if cell else np.full(repeats, np.nan) for cell in row] for row in known]
    return np.array(value, np.float64), np.moveaxis(np.array(draws, np.float64), -1, 0)


def likeness(auroc: Floats) -> Floats:
    """Return the mean of the two cross AUROCs of each pair, (..., n, n); the one that there is where one is nan."""
    return similarities(np.where(np.isnan(auroc), np.swapaxes(auroc, -1, -2), auroc))


def ahead(similarity: Floats) -> Floats:
    """Return how far each base is ahead of the mean of the others, (..., bases), from similarities (..., bases)."""
    others = (similarity.sum(axis=-1, keepdims=True) - similarity) / (similarity.shape[-1] - 1)
    return np.asarray(similarity - others)


def parent_test(similarity: Floats, parent: Sequence[int], seed: int = 0) -> tuple[float, float, int]:
    """Test whether children lie nearer to their own parents than to the other bases.

    The statistic is the mean over children of the similarity to the own parent minus the mean similarity to the other
    bases. Under the null the names of the bases are exchangeable: every injective renaming of the parents among the
    bases, children of one parent staying together, was as likely. The one-sided p-value is the share of renamings,
    the true one among them, that come to as much; all of them where they are at most ``MOST_EXACT``, else so many
    drawn ones.

    Args:
        similarity: (children, bases), finite.
        parent: column of each child's parent.
        seed: of drawn renamings.

    Returns:
        The statistic, its p-value, and the number of renamings.
    """
    gaps = ahead(similarity)
    parents, member = np.unique(np.asarray(parent), return_inverse=True)
    bases, count = similarity.shape[1], len(parents)
    if math.perm(bases, count) <= MOST_EXACT:
        renamed = np.array(list(permutations(range(bases), count)))
    else:
        generator = np.random.default_rng(seed)
        drawn = np.argsort(generator.random((MOST_EXACT - 1, bases)), axis=1)[:, :count]
        renamed = np.concatenate([parents[None], drawn])
    values = gaps[np.arange(len(gaps)), renamed[:, member]].mean(axis=1)
    statistic = float(gaps[np.arange(len(gaps)), np.asarray(parent)].mean())
    return statistic, float(np.mean(values >= statistic - ALIKE)), len(renamed)


def _child(
    name: str, parent: str, bases: Sequence[str], near: Floats, drawn: Floats, behind: Sequence[Sequence[Figures]]
) -> Child:
    estimates = [
        Estimate.of(value, bootstrap_interval(drawn[:, i]), images_behind(behind[i])) for i, value in enumerate(near)
    ]
    ranking = sorted(zip(bases, estimates, strict=True), key=lambda pair: -pair[1].value)
    own = bases.index(parent)
    gap = Estimate.of(ahead(near)[own], bootstrap_interval(ahead(drawn)[:, own]), images_behind(*behind))
    return Child(name, parent, tuple(ranking), gap)


def _tree(names: Sequence[str], similarity: Floats) -> Clustering | None:
    """Return the tree of the first generators of a table; None where they are too few, or one pair has no figure."""
    square = similarity[: len(names), : len(names)]
    return None if len(names) < FEWEST or np.isnan(square).any() else average_linkage(names, distances(square))


@dataclass(frozen=True)
class Naive:
    """Fingerprints held against each other directly, which is no test of lineage.

    Attributes:
        names: generators, in the bank's order.
        plain: (K, K) Pearson correlations, each fingerprint turned so that its generator's images correlate positively.
        centred: the same after the mean of the bank's fingerprints, each of length 1, is taken off; of unrelated ones
            it is about ``-1 / (K - 1)``.
        values: numbers in each fingerprint.
    """

    names: tuple[str, ...]
    plain: Floats
    centred: Floats
    values: int

    def nearest(self, child: str, bases: Sequence[str], centred: bool) -> str | None:
        """Return the base whose fingerprint correlates most with a child's; None where one has no fingerprint."""
        known = [name for name in bases if name in self.names]
        if child not in self.names or not known:
            return None
        row = (self.centred if centred else self.plain)[self.names.index(child)]
        return max(known, key=lambda name: float(row[self.names.index(name)]))


def compare_directly(bank: Bank) -> Naive:
    """Return the correlations of a bank's fingerprints with each other."""
    flat = bank.fingerprints.reshape(len(bank.names), -1).astype(np.float64)
    unit = _unit(flat) * bank.signs[:, None]
    centred = _unit(unit - unit.mean(axis=0))
    return Naive(bank.names, unit @ unit.T, centred @ centred.T, flat.shape[1])


def _unit(rows: Floats) -> Floats:
    """Return rows without mean and of length 1; those of no length stay 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))
