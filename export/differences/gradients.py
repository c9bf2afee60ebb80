"""Gradients of image metrics by the first image, and figures that need torch; never changes what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytorch_msssim
import torch
from torch import Tensor

from export.differences.batches import Planes, as_batches
from export.differences.perceptual import LEAST, distance
from harness.errors import SuiteError, problem
from harness.names import did_you_mean

WINDOW, SIGMA, LEVELS = 11, 1.5, 5
"""Of SSIM's Gaussian window in pixels, and of MS-SSIM's halvings."""


@dataclass(frozen=True)
class Metric:
    """A figure of two images that can be differentiated.

    Attributes:
        of: from float32 (1, C, H, W) twice, and the name or file of weights, to a scalar.
        least: smallest side of an image in pixels.
        channels: the one number of channels that it takes; None: any.
    """

    of: Callable[[Tensor, Tensor, str], Tensor]
    least: int = 1
    channels: int | None = None


def _mse(x: Tensor, y: Tensor, weights: str) -> Tensor:
    return (x.double() - y.double()).square().mean()


def _psnr(x: Tensor, y: Tensor, weights: str) -> Tensor:
    return -10 * _mse(x, y, weights).log10()


def _ssim(x: Tensor, y: Tensor, weights: str) -> Tensor:
    found: Tensor = pytorch_msssim.ssim(x, y, data_range=1.0, win_size=WINDOW, win_sigma=SIGMA)
    return found


def _ms_ssim(x: Tensor, y: Tensor, weights: str) -> Tensor:
    found: Tensor = pytorch_msssim.ms_ssim(x, y, data_range=1.0, win_size=WINDOW, win_sigma=SIGMA)
    return found


def _lpips(x: Tensor, y: Tensor, weights: str) -> Tensor:
    return distance(x, y, weights)


def _dice(x: Tensor, y: Tensor, weights: str) -> Tensor:
    shared, total = _sets(x, y)
    return 1 - 2 * shared / total


def _jaccard(x: Tensor, y: Tensor, weights: str) -> Tensor:
    shared, total = _sets(x, y)
    return 1 - shared / (total - shared)


def _sets(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return what two soft sets share, and the sum of their sizes; never 0, so that two empty ones have no gradient."""
    x, y = x.double().clamp(0, 1), y.double().clamp(0, 1)
    return (x * y).sum(), (x.sum() + y.sum()).clamp_min(torch.finfo(torch.float32).tiny)


METRICS: Mapping[str, Metric] = {
    "mse": Metric(_mse),
    "psnr": Metric(_psnr),
    "ssim": Metric(_ssim, least=WINDOW),
    "ms_ssim": Metric(_ms_ssim, least=(WINDOW - 1) * 2 ** (LEVELS - 1) + 1),
    "lpips": Metric(_lpips, least=LEAST, channels=3),
    "dice": Metric(_dice),
    "jaccard": Metric(_jaccard),
}
"""What can be differentiated, by name."""


def gradient_map(a: Planes, b: Planes, metric: str, weights: str = "") -> Planes:
    """Return the signed gradient of ``metric(b, a)`` by ``a``.

    ========  ==================================================================================================
    mse       mean square difference
    psnr      -10 log10 of it, data range 1
    ssim      mean structural similarity (Wang et al., IEEE TIP 2004), Gaussian window of 11, sigma 1.5, whole windows
    ms_ssim   the same over five scales (Wang, Simoncelli and Bovik, Asilomar 2003); sides above 160 pixels
    lpips     perceptual distance (Zhang et al., CVPR 2018); three channels in [0, 1]
    dice      1 - 2 sum(ab) / (sum a + sum b), values clipped to [0, 1] as soft sets
    jaccard   1 - sum(ab) / (sum a + sum b - sum(ab)), the same
    ========  ==================================================================================================

    Args:
        a, b: float32 (H, W, C) of one shape, finite.
        metric: one of METRICS.
        weights: of lpips; see :func:`export.differences.lpips_map`.

    Returns:
        float32 (H, W, C); zero where the images are equal, whatever the metric.

    Raises:
        SuiteError: an unknown metric.
        ImageError: images that can't be compared, or too small ones.
        CheckpointError: weights of lpips that can't be had.
    """
    chosen, x, y = _asked(a, b, metric)
    if np.array_equal(a, b):
        return np.zeros_like(a)
    x.requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(chosen.of(y, x, weights), x)
    return np.ascontiguousarray(gradient[0].permute(1, 2, 0).numpy())


def measure(a: Planes, b: Planes, metric: str, weights: str = "") -> float:
    """Return ``metric(b, a)``; arguments and errors are those of :func:`gradient_map`.

    Equal images: 1 of the similarities ssim and ms_ssim, infinity of psnr; dice and jaccard are 0 of equal sets of
    zeros and ones alone.
    """
    chosen, x, y = _asked(a, b, metric)
    with torch.no_grad():
        return float(chosen.of(y, x, weights))


def _asked(a: Planes, b: Planes, metric: str) -> tuple[Metric, Tensor, Tensor]:
    if metric not in METRICS:
        raise SuiteError(problem("metric", "a known one", repr(metric), did_you_mean(metric, list(METRICS))))
    chosen = METRICS[metric]
    return chosen, *as_batches(a, b, metric, least=chosen.least, channels=chosen.channels)
