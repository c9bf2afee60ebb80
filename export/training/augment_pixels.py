"""What augmentations do to an image's pixels, as pure functions: they draw nothing."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from harness.images import Image
from harness.images.degrade import Jpeg

TRUNCATE = 4.0
"""Sigmas after which a Gaussian is cut, SciPy's default."""


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by a Gaussian of its own; the border is mirrored with its edge repeated, as SciPy's ``reflect``.

    Args:
        images: (N, 3, H, W).
        sigma: in pixels, (N,), at least 0; 0 changes nothing.
    """
    down, across = (_gaussians(sigma, side)[:, None] for side in images.shape[-2:])
    return down @ images @ across.mT


def _gaussians(sigma: Tensor, side: int) -> Tensor:
    """Return the blur along one axis as matrices (N, side, side), whose borders are folded back into them."""
    reach = (TRUNCATE * sigma + 0.5).floor()
    steps = torch.arange(-int(reach.max()), int(reach.max()) + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]) ** 2) * (steps.abs() <= reach[:, None])
    weights = weights / weights.sum(1, keepdim=True)
    place = (torch.arange(side, device=sigma.device)[:, None] + steps) % (2 * side)
    place = torch.minimum(place, 2 * side - 1 - place).expand(len(sigma), -1, -1)
    zeros = torch.zeros(len(sigma), side, side, dtype=sigma.dtype, device=sigma.device)
    return zeros.scatter_add(2, place, weights[:, None].expand(place.shape))


def jpeg(images: Tensor, quality: Tensor, by_opencv: Tensor) -> Tensor:
    """Round to 8 bits, encode each image as JPEG (4:2:0, standard tables) and decode it.

    Args:
        images: in [0, 1], (N, 3, H, W).
        quality: 1..100, (N,).
        by_opencv: bool (N,): by OpenCV's codec, or else by Pillow's.
    """
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    asked = zip(pixels, quality.tolist(), by_opencv.tolist(), strict=True)
    made = np.stack([_by_opencv(one, level) if cv else Jpeg(quality=level)(one, 0) for one, level, cv in asked])
    return torch.from_numpy(made).permute(0, 3, 1, 2).to(images) / 255


def _by_opencv(image: Image, quality: int) -> Image:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
