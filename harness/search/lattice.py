"""Walks from an image along a direction that stay on the lattice of 8-bit images, each step the best for its length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.search.requests import Floats

SHRINK = 1.5
"""The threshold's factor from one try to the next."""

FINEST = 1e-4
"""Of the steepest coordinate's slope: what is flatter is never changed."""


class Walk:
    """Images seed + d_k, k = 0, 1, ..., each one grey level in one coordinate away from the one before.

    Let m be a margin with gradient g at or near the seed. Among the changes d in whole grey levels that lower the
    linear margin by a given amount, the shortest take the steps (coordinate i, l-th level) by falling
    |g_i| / (2 l - 1): the l-th level of a coordinate gains |g_i| and lengthens ||d||^2 by l^2 - (l - 1)^2. That order
    does not depend on the amount, so one walk holds the shortest change for every amount. Coordinates leave it where
    they reach 0 or 255.

    Args:
        seed: uint8 (height, width, 3).
        gradient: d margin / d image, an image's values counted in [0, 1]; the walk descends.
        reach: the least decrease that it must hold, where the lattice has it.
    """

    def __init__(self, seed: NDArray[np.uint8], gradient: Floats, reach: float) -> None:
        self.seed = seed
        slope = gradient.reshape(-1) / np.float32(255)
        pixels = seed.reshape(-1)
        up = slope < 0
        self._steps = np.where(up, np.int16(1), np.int16(-1))
        room = np.where(up, 255 - pixels, pixels)
        slope = np.where(room > 0, np.abs(slope), np.float32(0))
        steepest = float(slope.max(initial=0.0))
        threshold = steepest / 8
        while True:
            chosen = np.flatnonzero(slope >= max(threshold, 1e-30))
            levels = np.minimum((slope[chosen] / max(threshold, 1e-30) + 1) // 2, room[chosen]).astype(np.int64)
            if float(slope[chosen] @ levels) >= reach or threshold <= FINEST * steepest:
                break
            threshold /= SHRINK
        coordinates = np.repeat(chosen, levels)
        level = np.arange(1, len(coordinates) + 1) - np.repeat(np.cumsum(levels) - levels, levels)
        gain = slope[coordinates]
        order = np.argsort(-gain / (2 * level - 1), kind="stable")
        self.coordinates = coordinates[order]
        self.gains = np.cumsum(gain[order], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.gains)

    def place(self, decrease: float) -> int:
        """Return the least k, from 1, whose linear decrease is at least ``decrease``; the last where none is."""
        return min(int(np.searchsorted(self.gains, decrease)) + 1, len(self))

    def gain(self, k: int) -> float:
        """Return the linear decrease of the margin after k steps."""
        return float(self.gains[k - 1]) if k else 0.0

    def at(self, k: int) -> NDArray[np.uint8]:
        """Return the image after k steps, uint8 (height, width, 3)."""
        pixels, moved = self.seed.reshape(-1).astype(np.int16), self.coordinates[:k]
        np.add.at(pixels, moved, self._steps[moved])
        return pixels.astype(np.uint8).reshape(self.seed.shape)
