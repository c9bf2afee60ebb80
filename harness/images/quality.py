"""How far two images of one size lie apart; pure figures, data range 1.0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity


@dataclass(frozen=True)
class Distance:
    """How far an image lies from another.

    Attributes:
        l2: Euclidean norm of the difference, an image's values counted in [0, 1].
        linf: largest difference of a value, in grey levels of 1/255.
        psnr: peak signal to noise ratio in dB; infinite where they are equal.
        ssim: structural similarity, 1 where they are equal.
    """

    l2: float
    linf: float
    psnr: float
    ssim: float


def distance(image: NDArray[Any], other: NDArray[Any]) -> Distance:
    """Measure two RGB images against each other.

    PSNR is -10 log10 of the mean square difference. SSIM is that of Wang et al., 2004, with scikit-image's uniform
    window of 7 pixels, averaged over channels.

    Args:
        image, other: (height, width, 3), at least 7 pixels a side; uint8, or floats in [0, 1].
    """
    a, b = _levels(image), _levels(other)
    difference = a - b
    square = float(np.square(difference).mean()) / 255**2
    return Distance(
        l2=float(np.linalg.norm(difference)) / 255,
        linf=float(np.abs(difference).max()),
        psnr=float(-10 * np.log10(square)) if square else float("inf"),
        ssim=float(structural_similarity(a, b, channel_axis=2, data_range=255.0)),  # type: ignore[no-untyped-call]
    )


def _levels(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return an image in grey levels, so that those of 8 bits are exact."""
    return image.astype(np.float64) if image.dtype == np.uint8 else image.astype(np.float64) * 255
