"""The connected regions of a mask, as boxes with their strength; knows nothing of how the mask came about."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from harness.difference.postprocess import Mask
from harness.difference.strategies import Map


@dataclass(frozen=True, slots=True)
class Region:
    """One connected region, 8 neighbours a pixel.

    Attributes:
        box: (top, left, bottom, right) in pixels; bottom and right are outside.
        area: pixels.
        peak: (row, column) of the map's largest value inside.
        strength: that value.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: tuple[int, int]
    strength: float


def regions(mask: Mask, values: Map) -> tuple[Region, ...]:
    """Return the regions of a mask, strongest first.

    Args:
        mask: bool (H, W).
        values: the map, float32 (H, W).
    """
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(fact) for fact in facts[label])
        window = np.s_[top : top + height, left : left + width]
        inside = np.where(labels[window] == label, values[window], -np.inf)
        row, column = (int(place) for place in np.unravel_index(int(inside.argmax()), inside.shape))
        box = (top, left, top + height, left + width)
        found.append(Region(box, area, (top + row, left + column), float(inside[row, column])))
    return tuple(sorted(found, key=lambda region: (-region.strength, region.box)))
