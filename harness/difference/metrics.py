"""Figures of how far two images of one size lie apart, and maps of where; pure functions of planes, data range 1."""

from __future__ import annotations

import math

import cv2
import numpy as np

from harness.difference.planes import Planes

WINDOW, SIGMA = 11, 1.5
"""Of SSIM's Gaussian window, in pixels."""

C1, C2 = 0.01**2, 0.03**2
"""SSIM's constants at a data range of 1."""


def mae(a: Planes, b: Planes) -> float:
    """Return the mean absolute difference."""
    return float(np.abs(a - b).mean(dtype=np.float64))


def mse(a: Planes, b: Planes) -> float:
    """Return the mean square difference."""
    return float(np.square(a - b).mean(dtype=np.float64))


def psnr(a: Planes, b: Planes) -> float:
    """Return -10 log10 of the mean square difference, in dB; infinite where the images are equal."""
    square = mse(a, b)
    return -10 * math.log10(square) if square else math.inf


def ssim(a: Planes, b: Planes) -> float:
    """Return the mean of :func:`similarity`, 1 where the images are equal."""
    return float(similarity(a, b).mean(dtype=np.float64))


def similarity(a: Planes, b: Planes) -> Planes:
    """Return the structural similarity around every pixel, float32 (H, W, C) in [-1, 1].

    Wang et al., IEEE TIP 2004, equation 13: a Gaussian window of 11 pixels and sigma 1.5, mirrored at the border, with
    population variances.
    """

    def blurred(planes: Planes) -> Planes:
        smooth = cv2.GaussianBlur(planes, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT)
        return np.asarray(smooth, np.float32).reshape(planes.shape)

    mean_a, mean_b = blurred(a), blurred(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance = blurred(a * b) - product
    variances = blurred(a * a + b * b) - squares
    return np.asarray(
        ((2 * product + C1) * (2 * covariance + C2)) / ((squares + C1) * (variances + C2)), dtype=np.float32
    )


def dice(a: Planes, b: Planes, *, hard: bool = False) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two images as soft sets, values clipped to [0, 1]; 1 where both are empty.

    Args:
        a, b: planes of one shape.
        hard: whether values are cut at 0.5 first.
    """
    shared, total = _sets(a, b, hard)
    return 2 * shared / total if total else 1.0


def jaccard(a: Planes, b: Planes, *, hard: bool = False) -> float:
    """Return |A and B| / |A or B| of two images as soft sets, as :func:`dice`; 1 where both are empty."""
    shared, total = _sets(a, b, hard)
    return shared / (total - shared) if total else 1.0


def _sets(a: Planes, b: Planes, hard: bool) -> tuple[float, float]:
    """Return the size of what two sets share, and the sum of their sizes."""
    a, b = ((planes >= 0.5).astype(np.float32) if hard else np.clip(planes, 0, 1) for planes in (a, b))
    return float((a * b).sum(dtype=np.float64)), float(a.sum(dtype=np.float64) + b.sum(dtype=np.float64))
