"""Statistics of an image's colours that older attributions classify by: chromaticities, exposure, co-occurrences."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from harness.fingerprints.representation import Statistic
from harness.fingerprints.spaces import Features, Images

MARGINS = (0, 1, 2, 4, 8, 16)
"""Distances from black and from white within which a value counts as under- or over-exposed."""


def _divides(levels: int) -> int:
    if 256 % levels:
        raise ValueError("a divisor of 256")
    return levels


class ColourHistogram(Statistic):
    """Chromaticities and exposure (after McCloskey & Albright 2018, arXiv 1812.08247): float32 (n, bins^2 + 36).

    First the histogram over (r, g) = (R, G) / (R + G + B), row r, column g, where black counts as grey; then, of each
    channel, the shares of values within each of :data:`MARGINS` of 0, and of 255. All are shares of the pixels.

    Attributes:
        bins: on a side of the histogram.
    """

    name = "colour_histogram"
    bins: Annotated[int, Field(ge=2, le=128)] = 32

    def make(self, images: Images) -> Features:
        """Count."""
        pixels = images.reshape(len(images), -1, 3)
        values = pixels.astype(np.int64)
        whole = values.sum(axis=2, keepdims=True)
        red, green = np.moveaxis(
            np.where(whole > 0, values[..., :2] * self.bins // np.maximum(whole, 1), self.bins // 3), 2, 0
        )
        bins = np.minimum(red, self.bins - 1) * self.bins + np.minimum(green, self.bins - 1)
        exposure = [
            (near <= margin).mean(axis=1, dtype=np.float32) for near in (pixels, 255 - pixels) for margin in MARGINS
        ]
        shares = np.stack(exposure, axis=2).reshape(len(images), -1)
        return np.concatenate([_shares(bins, self.bins**2), shares], axis=1)


class Cooccurrence(Statistic):
    """How often each pair of values stands side by side (after Nataraj et al. 2019, arXiv 1903.06836): float32
    (n, 3, levels, levels), the left value's row, the right one's column; shares that add to 1 in each channel.

    Attributes:
        levels: 256 as published; fewer count equally many neighbouring values as one.
    """

    name = "cooccurrence"
    levels: Annotated[int, Field(ge=2, le=256), AfterValidator(_divides)] = 64

    def make(self, images: Images) -> Features:
        """Count horizontal pairs."""
        values = (images // (256 // self.levels)).astype(np.int64)
        pairs = values[:, :, :-1] * self.levels + values[:, :, 1:]
        rows = pairs.transpose(0, 3, 1, 2).reshape(len(images) * 3, -1)
        return _shares(rows, self.levels**2).reshape(len(images), 3, self.levels, self.levels)


def _shares(bins: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return each row's histogram over ``count`` bins as shares, float32 (rows, count)."""
    rows, width = bins.shape
    places = bins + count * np.arange(rows)[:, None]
    counted = np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count)
    return np.asarray(counted / width, np.float32)
