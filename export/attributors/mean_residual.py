"""Attribution by mean residuals: one template a source, averaged, and an image's correlation with each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.attributors.attributor import Batches, Network
from export.detectors.architecture import Scale
from export.fingerprints import FLOOR
from export.residual_filters import load_filter

FILTER = "bilateral"
"""The residual filter, at either scale: fingerprints of the miniature over it hold better than over its DnCNN."""


class MeanResidual(Network):
    """Pearson correlation of an image's residual with the mean residual of each source (Marra et al., MIPR 2019).

    A residual fainter than DIF's floor is divided by the floor instead of its own length. Templates are kept in half
    precision: of correlations, that moves the sixth digit.

    Args:
        residual: filter, (N, 3, H, W) in [0, 1] -> the same shape.
        shape: of an image, (H, W, 3).
        sources: how many.
    """

    templates: Tensor

    def __init__(self, residual: nn.Module, shape: tuple[int, ...], sources: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.residual = residual.requires_grad_(False)
        self.root = (height * width * channels) ** 0.5
        self.register_buffer("templates", torch.zeros(height * width * channels, sources).half())

    def settle(self, batches: Batches) -> None:
        """Average the residuals of each source, and keep each average without its mean, its root mean square 1."""
        total = torch.zeros(self.templates.shape).double()
        count = torch.zeros(total.shape[1]).double()
        with torch.no_grad():
            for image, source in batches:
                member = nn.functional.one_hot(source.cpu(), total.shape[1]).double()
                total += self._flat(image).cpu().double().T @ member
                count += member.sum(dim=0)
        average = total / count
        average -= average.mean(dim=0)
        self.templates.copy_(average / (average.norm(dim=0) / self.root).clamp_min(FLOOR))

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 correlations (N, sources)."""
        flat = self._flat(image)
        flat = flat - flat.mean(dim=1, keepdim=True)
        length = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp_min(FLOOR * self.root)
        correlations: Tensor = flat @ self.templates.float() / (length * self.root)
        return correlations

    def _flat(self, image: Tensor) -> Tensor:
        residual: Tensor = self.residual(image.permute(0, 3, 1, 2).float() / 255).flatten(1)
        return residual


def mean_residual(scale: Scale, shape: tuple[int, ...], sources: int) -> MeanResidual:
    """Return templates to be averaged over bilateral residuals."""
    return MeanResidual(load_filter(FILTER), shape, sources)
