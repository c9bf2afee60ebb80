"""Figures of a map, a mask and its regions against what is known to have changed; pure functions of one pair.

Truth is int32 (H, W): 0 where nothing changed, k in the k-th spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics.binary import average_precision

TOLERANCE = 0.01
"""How far beside a spot a peak may lie and still point at it, as a share of the shorter side."""


@dataclass(frozen=True, slots=True)
class Found:
    """What regions make of the spots.

    Attributes:
        spots: how many there are.
        found: spots that the peak of a region points at.
        regions: how many were reported.
        right: regions whose peak points at a spot.
    """

    spots: int
    found: int
    regions: int
    right: int


def iou(mask: ArrayLike, truth: ArrayLike) -> float:
    """Return the intersection of what is marked and what changed over their union; 1 where both are empty."""
    marked, changed = np.asarray(mask, bool), np.asarray(truth) > 0
    union = np.count_nonzero(marked | changed)
    return np.count_nonzero(marked & changed) / union if union else 1.0


def pixel_ap(values: ArrayLike, truth: ArrayLike) -> float:
    """Return the average precision of a map's values as scores of changed pixels; nan where nothing changed."""
    return float(average_precision(np.ravel(values).astype(np.float64), np.ravel(np.asarray(truth) > 0)))


def pointing(values: ArrayLike, truth: ArrayLike) -> float:
    """Return 1 where the map's largest value points at a spot, else 0; nan where nothing changed.

    The pointing game of Zhang et al., IJCV 2018, with a tolerance of TOLERANCE; the first of equal values counts.
    """
    values, truth = np.asarray(values), np.asarray(truth)
    if not truth.any():
        return np.nan
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return float(_near(truth > 0)[row, column])


def found_spots(peaks: Sequence[tuple[int, int]], truth: ArrayLike) -> Found:
    """Hold regions against spots, by where their peaks (row, column) lie; one peak may point at several spots."""
    truth = np.asarray(truth)
    spots = [label for label in np.unique(truth) if label]
    hits = np.zeros((len(peaks), len(spots)), bool)
    for place, label in enumerate(spots):
        near = _near(truth == label)
        hits[:, place] = [near[peak] for peak in peaks]
    return Found(len(spots), int(hits.any(axis=0).sum()), len(peaks), int(hits.any(axis=1).sum()))


def _near(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels within the tolerance of a spot."""
    reach = round(TOLERANCE * min(changed.shape))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(changed.astype(np.uint8), disk), bool)
