"""The spaces that artifacts are taken in: from pixels to features. Pure functions; knows no reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from harness.errors import CardError, problem

Images = NDArray[np.uint8]
"""RGB images of one size, uint8 (n, height, width, 3)."""

Features = NDArray[np.float32]
"""What a space or a representation makes of images, float32 (n, ...)."""

Embed = Callable[[Images], Features]
"""An embedder's answers: one vector an image, float32 (n, dimensions)."""

SpaceName = Literal["rgb", "frequency", "embedding"]

EPSILON = 1e-3
"""Added to magnitudes before the logarithm: far below what rounding to 8 bits leaves in any of them, far above zero."""


def features(space: SpaceName, images: Images, embed: Embed | None = None) -> Features:
    """Return images in a space (ManiFPT, arXiv 2402.10401, section 3); the distance there is the squared L2.

    Args:
        space: ``rgb``, ``frequency`` or ``embedding``.
        images: uint8 (n, height, width, 3).
        embed: the embedder, for ``embedding`` alone.

    Returns:
        float32 (n, 3, height, width); of an embedding (n, dimensions).

    Raises:
        CardError: an embedding without an embedder.
    """
    if space == "rgb":
        return rgb(images)
    if space == "frequency":
        return frequency(images)
    if embed is None:
        raise CardError(problem("space embedding", "an embedder", "none", "Name one: embedder=NAME"))
    return embed(images)


def rgb(images: Images) -> Features:
    """Return pixels in [0, 1], channels first: float32 (n, 3, height, width)."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def frequency(images: Images) -> Features:
    """Return the logarithm of each channel's :func:`amplitudes`: float32 (n, 3, height, width)."""
    return np.log(amplitudes(rgb(images)))


def amplitudes(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |FFT| + :data:`EPSILON` of planes, not normalised, the zero frequency at the centre.

    Args:
        planes: float32 (..., height, width).

    Returns:
        float32 of the same shape; zero frequency at row height // 2, column width // 2.
    """
    found = np.abs(scipy.fft.fft2(planes)) + np.float32(EPSILON)
    return np.asarray(scipy.fft.fftshift(found, axes=(-2, -1)), np.float32)
