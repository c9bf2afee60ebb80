"""Figures of a map, a mask and its regions against what is known to have changed in one pair of images."""

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


class Truth:
    """What changed in one pair.

    Args:
        labels: int (H, W): 0 where nothing changed, k in the k-th spot.
    """

    def __init__(self, labels: ArrayLike) -> None:
        spots = np.asarray(labels)
        self.changed = spots > 0
        self.near = [_near(spots == label) for label in np.unique(spots) if label]

    @property
    def spots(self) -> int:
        """How many there are."""
        return len(self.near)

    def iou(self, mask: ArrayLike) -> float:
        """Return the intersection of a mask, bool (H, W), and what changed over their union; 1 where both are empty."""
        marked = np.asarray(mask, bool)
        union = np.count_nonzero(marked | self.changed)
        return np.count_nonzero(marked & self.changed) / union if union else 1.0

    def pixel_ap(self, values: ArrayLike) -> float:
        """Return the average precision of a map (H, W) as scores of changed pixels; nan where nothing changed."""
        return float(average_precision(np.ravel(values).astype(np.float64), self.changed.ravel()))

    def pointing(self, values: ArrayLike) -> float:
        """Return 1 where a map's largest value points at a spot, else 0; nan where nothing changed.

        A map of zeros points nowhere.

        The pointing game of Zhang et al., IJCV 2018, with a tolerance of TOLERANCE; the first of equal values counts.
        """
        if not self.near:
            return np.nan
        values = np.asarray(values)
        if not values.max() > 0:
            return 0.0
        peak = np.unravel_index(int(values.argmax()), values.shape)
        return float(any(near[peak] for near in self.near))

    def found(self, peaks: Sequence[tuple[int, int]]) -> Found:
        """Hold regions against spots, by where their peaks (row, column) lie; one peak may point at several spots."""
        rows, columns = np.reshape(peaks, (-1, 2)).astype(np.intp).T
        hits = np.reshape([near[rows, columns] for near in self.near], (self.spots, len(peaks)))
        return Found(self.spots, int(hits.any(axis=1).sum()), len(peaks), int(hits.any(axis=0).sum()))


def _near(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels within the tolerance of a spot."""
    reach = round(TOLERANCE * min(changed.shape))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(changed.astype(np.uint8), disk), bool)
