"""Largest correlation over small shifts: DIF's answer to an image whose pixel grid has moved. Trains nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

REACH = 8
"""Pixels that an aligned bank searches: a shift by one block of JPEG, in any direction."""


class Aligned(nn.Module):
    """Largest dot product of images with each template over all cyclic shifts of up to ``reach`` pixels.

    A cyclic shift stands in for a real one but for what wraps around: at most ``reach`` of a side's pixels come from
    the opposite border instead of from beyond it, and they count as noise.

    A shift along a row is a phase of the row's Fourier transform, so that rows are correlated as spectra and all shifts
    along them come of one product for each frequency; a shift along a column is a product of its own. That is
    ``2 (2 reach + 1)`` products the size of a dot product with the whole image instead of ``(2 reach + 1)^2``. The
    transforms are products with real matrices, which any runtime has, of half the spectrum, for images are real.

    Args:
        templates: (K, 3, height, width).
        reach: pixels, less than half a side.
    """

    analysis: Tensor
    templates: Tensor
    synthesis: Tensor

    def __init__(self, templates: Tensor, reach: int) -> None:
        super().__init__()
        width = templates.shape[3]
        frequencies, shifts = torch.arange(width // 2 + 1), torch.arange(-reach, reach + 1)
        turn = 2 * math.pi / width
        turns = turn * (torch.outer(torch.arange(width), frequencies) % width).double()
        analysis = torch.stack([turns.cos(), turns.sin()])
        back = turn * (torch.outer(frequencies, shifts) % width).double()
        twice = torch.where((frequencies == 0) | (2 * frequencies == width), 1.0, 2.0).double()[:, None] / width
        cos, sin = twice * back.cos(), twice * back.sin()
        spectra = torch.einsum("kchw,pwf->fpkch", templates.double(), analysis)
        self.reach = reach
        self.register_buffer("analysis", analysis.float())
        self.register_buffer("templates", spectra.flatten(0, 2).float().contiguous())
        self.register_buffer("synthesis", torch.stack([cos, sin, -sin, cos]).flatten(0, 1).float())

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, height, width) -> (N, K)."""
        number, _, height, _ = images.shape
        wrapped = torch.cat([images[:, :, height - self.reach :], images, images[:, :, : self.reach]], dim=2)
        spectra = (wrapped[:, None] @ self.analysis[:, None]).permute(0, 1, 4, 2, 3).flatten(2, 3).flatten(0, 1)
        half = self.analysis.shape[2]
        products = functional.conv1d(spectra, self.templates, groups=half)
        products = products.reshape(number, 2, half, 2, -1, 2 * self.reach + 1).permute(0, 5, 4, 3, 1, 2)
        return (products.flatten(3) @ self.synthesis).amax(dim=(1, 3))
