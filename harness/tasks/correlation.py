"""How alike two generators look to detectors: likeness, correlation and clusters from cross AUROCs. Reads no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.images.degrade import CLEAN
from harness.stats import Estimate, bootstrap_interval
from harness.stats.clustering import ALIKE, Clustering, average_linkage
from harness.tasks.cross import families
from harness.tasks.detection import Detection, Detector, Figures, defined, joint_draws, joint_mean

Floats = NDArray[np.float64]

METRIC = "auroc"
"""Threshold-free: a detector that finds a generator's images at another threshold has still learned of it."""

FEWEST = 3
"""Generators from which on there is something to cluster."""


@dataclass(frozen=True)
class Correlation:
    """Generators by how alike they look to detectors, clean images.

    Attributes:
        clustering: of the distances; its order is that of every row and column.
        similarity: of generators a and b, the mean of two AUROCs: of the detectors trained on a alone and tested on b,
            and of those trained on b alone and tested on a; each is itself the mean over those detectors, one an
            architecture. On the diagonal, where the two are one, the AUROC in domain. Intervals come from the joint
            resamples.
        correlation: Pearson's, of columns a and b of that matrix of AUROCs (rows trained on, columns tested on, its
            diagonal included): do the same detectors find both? None where a column is constant.
        detectors: how many the figures rest on.
    """

    clustering: Clustering
    similarity: tuple[tuple[Estimate | None, ...], ...]
    correlation: tuple[tuple[Estimate | None, ...], ...]
    detectors: int


def correlate(detection: Detection) -> Correlation | None:
    """Return how alike the generators look to those architectures that have detectors of several of them.

    The distance of two generators is ``1 - (similarity - 0.5) / 0.5``, kept in [0, 1]: 0 where detectors of the one
    part the other's images from real ones without a mistake, 1 where they are no better than chance. An AUROC below
    chance is no likeness either. A generator's distance from itself is 0.

    Returns:
        None where fewer than three generators both were tested and have a detector trained on them alone, or a cell
        between them has no figure.
    """
    known = trained(detection)
    names = [name for name in detection.generators if name in known]
    cells = [[[item.figures[CLEAN, tested] for item in known[own]] for tested in names] for own in names]
    figures = [[joint_mean(cell, METRIC) for cell in row] for row in cells]
    if len(names) < FEWEST or any(figure is None for row in figures for figure in row):
        return None
    auroc = np.array([[figure.value for figure in row if figure] for row in figures])
    resampled = [[joint_draws(defined(cell, METRIC), METRIC) for cell in row] for row in cells]
    draws = np.moveaxis(np.array(resampled), -1, 0)
    clustering = average_linkage(names, distances(similarities(auroc)))
    place = [names.index(name) for name in clustering.order]
    images = [[images_behind(cells[a][b], cells[b][a]) for b in place] for a in place]
    return Correlation(
        clustering,
        _estimates(similarities(auroc), similarities(draws), place, images),
        _estimates(correlations(auroc), correlations(draws), place, images),
        sum(map(len, known.values())),
    )


def similarities(auroc: Floats) -> Floats:
    """Return the mean of the two cross AUROCs of each pair, (..., n, n), from AUROCs (..., trained on, tested on)."""
    return np.asarray((auroc + np.swapaxes(auroc, -1, -2)) / 2)


def distances(similarity: Floats) -> Floats:
    """Return the distances of :func:`correlate` in [0, 1], (n, n), from similarities (n, n)."""
    far = np.clip(1 - (similarity - 0.5) / 0.5, 0.0, 1.0)
    np.fill_diagonal(far, 0.0)
    return far


def correlations(auroc: Floats) -> Floats:
    """Return Pearson's correlation of each pair of columns, (..., n, n); nan where one is constant."""
    centred = auroc - auroc.mean(axis=-2, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=-2, keepdims=True))
    unit = centred / np.where(size > ALIKE, size, np.nan)
    return np.asarray(np.clip(np.swapaxes(unit, -1, -2) @ unit, -1.0, 1.0))


def trained(detection: Detection) -> dict[str, list[Detector]]:
    """Return the detectors trained on each tested generator alone, of architectures that have several of them."""
    found: dict[str, list[Detector]] = {}
    for family in families(detection):
        alone = [item for item in family.detectors if len(item.head.trained_on) == 1]
        known = [item for item in alone if item.head.trained_on[0] in detection.generators]
        if len({item.head.trained_on for item in known}) > 1:
            for item in known:
                found.setdefault(item.head.trained_on[0], []).append(item)
    return found


def images_behind(*cells: Sequence[Figures]) -> int:
    """Return the images of several test sets, each counted once."""
    return sum({item.generator: item.reals + item.fakes for cell in cells for item in cell}.values())


def _estimates(
    values: Floats, draws: Floats, place: Sequence[int], images: Sequence[Sequence[int]]
) -> tuple[tuple[Estimate | None, ...], ...]:
    """Return a matrix with its bootstrap intervals, rows and columns in the order of ``place``."""
    return tuple(
        tuple(
            None if np.isnan(values[a, b]) else Estimate.of(values[a, b], bootstrap_interval(draws[:, a, b]), n)
            for b, n in zip(place, row, strict=True)
        )
        for a, row in zip(place, images, strict=True)
    )
