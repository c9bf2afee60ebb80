"""Fourier space of pictures: magnitudes, and the peaks that stand out of them. Knows nothing of what they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]

REACH = 7
"""Half the side of the square whose median is a bin's background."""

CORE = 2
"""Bins around one that are no background; of two peaks as near as this, the stronger counts."""

FAINT = 4.0
"""Times the background up to which a maximum is no peak. White noise of one channel exceeds it in one bin of
65,000, for its magnitude has a Rayleigh distribution and ``exp(-FAINT**2 * ln 2) = 2**-16``; a mean of channels does
far more rarely."""

ROUNDING = 1e-9
"""Share of the largest magnitude below which a background is rounding."""

LEVELS = (2, 4, 8, 16)
"""Denominators of the frequencies that one to four twofold enlargements repeat."""


@dataclass(frozen=True, slots=True)
class Peak:
    """A maximum of a spectrum, and of its mirror image the same.

    Attributes:
        x, y: its frequency in cycles per pixel: x in [0, 0.5], y in (-0.5, 0.5].
        ratio: its magnitude over its background.
    """

    x: float
    y: float
    ratio: float


def magnitudes(picture: NDArray[np.floating]) -> Floats:
    """Return the mean over channels of each one's Fourier magnitudes; 0 at frequency 0: their means do not count.

    Args:
        picture: (channels, H, W).

    Returns:
        float64 (H, W), the frequency 0 at (H // 2, W // 2), as ``numpy.fft.fftshift`` has it.
    """
    found = np.abs(np.fft.fft2(np.asarray(picture, np.float64))).mean(axis=0)
    found[0, 0] = 0.0
    return np.asarray(np.fft.fftshift(found))


def prominence(magnitude: Floats) -> Floats:
    """Return each bin's magnitude over its background, (H, W): the median of the bins around it.

    They are found across the spectrum's borders, for it is periodic. White noise has a mean near 1.
    """
    ring = np.ones((2 * REACH + 1, 2 * REACH + 1), bool)
    ring[REACH - CORE : REACH + CORE + 1, REACH - CORE : REACH + CORE + 1] = False
    background = ndimage.median_filter(magnitude, footprint=ring, mode="wrap")
    background = np.maximum(background, ROUNDING * magnitude.max())
    return np.asarray(np.divide(magnitude, background, out=np.zeros_like(magnitude), where=background > 0))


def peaks(prominent: Floats, most: int) -> tuple[Peak, ...]:
    """Return the peaks of a spectrum, strongest first: its local maxima of more than ``FAINT`` times the background.

    Args:
        prominent: (H, W), as from :func:`prominence`.
        most: how many at most.
    """
    largest = ndimage.maximum_filter(prominent, size=2 * CORE + 1, mode="wrap")
    y, x = ((np.arange(size) - size // 2) / size for size in prominent.shape)
    found: dict[tuple[float, float], Peak] = {}
    for i, j in np.argwhere((prominent == largest) & (prominent > FAINT)):
        where = _upper_half(float(x[j]), float(y[i]))
        found.setdefault(where, Peak(*where, float(prominent[i, j])))
    return tuple(sorted(found.values(), key=lambda peak: (-peak.ratio, peak.x, peak.y))[:most])


def lattice(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return for each bin (H, W) the first of ``LEVELS`` of whose inverse it is a multiple; 0 for none, and at 0.

    A twofold enlargement mixes even and odd pixels unalike, which shows at multiples of 1/2 cycles per pixel; n of them
    one after the other show at those of ``1 / 2**n``.
    """
    y, x = (np.arange(size) - size // 2 for size in shape)
    found = np.zeros(shape, np.int64)
    for level in reversed(LEVELS):
        found[np.ix_(y * level % len(y) == 0, x * level % len(x) == 0)] = level
    found[len(y) // 2, len(x) // 2] = 0
    return found


def logarithmic(magnitude: Floats, low: float = 1.0, high: float = 99.9, power: float = 1.0) -> Floats:
    """Return a spectrum's logarithm for the eye, (H, W) in [0, 1]; 0 where it is empty.

    Args:
        magnitude: (H, W); bins of 0 count as the smallest other one.
        low, high: percentiles that become 0 and 1.
        power: that the result is raised to; darkens all but the highest.
    """
    if not magnitude.any():
        return np.zeros(magnitude.shape)
    smallest = magnitude[magnitude > 0].min()
    return stretched(np.log(np.maximum(magnitude, smallest)), low, high) ** power


def stretched(values: Floats, low: float = 1.0, high: float = 99.0) -> Floats:
    """Return values with two of their percentiles at 0 and 1, the others beyond them cut; 0 where the two are equal."""
    bottom, top = np.percentile(values, (low, high))
    if not top > bottom:
        return np.zeros(values.shape)
    return np.asarray(np.clip((values - bottom) / (top - bottom), 0.0, 1.0))


def _upper_half(x: float, y: float) -> tuple[float, float]:
    """Return the one of a frequency and its mirror image that stands for both."""
    x, y = (0.5 if value == -0.5 else value for value in (x, y))
    if x < 0 or (x in (0.0, 0.5) and y < 0):
        return abs(x), y if y in (0.0, 0.5) else -y
    return x, y
