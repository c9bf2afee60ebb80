"""Statistics of an image's spectrum that older attributions classify by: its rings, and how its tail decays."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.fingerprints.representation import Statistic
from harness.fingerprints.spaces import Features, Images, amplitudes, rgb

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class SpectrumProfile(Statistic):
    """The grey image's log power spectrum averaged over rings one frequency wide (Durall et al. 2020,
    arXiv 2003.01826, section 2.1): float32 (n, rings), from zero frequency to the corners, which are farthest."""

    name = "spectrum_1d"

    def make(self, images: Images) -> Features:
        """Average log(power + epsilon) over each ring."""
        grey = np.tensordot(rgb(images), LUMA, axes=(1, 0))
        return ring_means(2 * np.log(amplitudes(grey)))


class SpectrumDecay(Statistic):
    """How each channel's spectrum decays (after Dzanic et al. 2020, arXiv 1911.06465): a power law b1 (k / kT)^b2 is
    fitted, in logarithms, to the ring averages of amplitude from kT on, zero frequency divided out. Float32 (n, 9): of
    each channel log b1, b2, and the root mean square of what the law leaves.

    Attributes:
        start: kT, as a share of the highest frequency that all directions have.
    """

    name = "spectrum_decay"
    start: float = Field(default=0.75, ge=0.25, lt=1)

    def make(self, images: Images) -> Features:
        """Fit the tail of every channel's reduced spectrum by least squares."""
        found = amplitudes(rgb(images))
        count, channels, height, width = found.shape
        reduced = np.log(ring_means(found.reshape(-1, height, width)))
        highest = min(height, width) // 2
        rings = np.arange(np.ceil(self.start * highest), highest + 1, dtype=np.int64)
        tail = (reduced[:, rings] - reduced[:, :1]).astype(np.float64)
        design = np.stack([np.ones(len(rings)), np.log(rings / (self.start * highest))], axis=1)
        fitted = tail @ np.linalg.pinv(design).T
        left = np.sqrt(np.square(tail - fitted @ design.T).mean(axis=1, keepdims=True))
        return np.concatenate([fitted, left], axis=1).reshape(count, 3 * channels).astype(np.float32)


def ring_means(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return means over rings of whole radii around the centre: of (n, height, width), (n, rings) float32.

    A value belongs to the ring of its distance from the centre (row height // 2, column width // 2), rounded down.
    """
    order, starts, sizes = _rings(*spectra.shape[1:])
    sums = np.add.reduceat(spectra.reshape(len(spectra), -1)[:, order], starts, axis=1, dtype=np.float64)
    return np.asarray(sums / sizes, np.float32)


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels' order by ring, where each ring starts in it, and its size."""
    rows, columns = np.ogrid[:height, :width]
    radius = np.hypot(rows - height // 2, columns - width // 2).astype(np.int64).ravel()
    sizes = np.bincount(radius)
    return np.argsort(radius, kind="stable"), np.cumsum(sizes) - sizes, sizes
