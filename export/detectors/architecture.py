"""What a detector's architecture is: a network from images in [0, 1] to a logit, its input, and its recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess

Scale = Literal["full", "miniature"]
"""As published, or narrow and shallow enough for 128 px, a processor and a small file."""


@dataclass(frozen=True)
class Architecture:
    """One kind of detector.

    Attributes:
        name: first part of its models' names.
        summary: one sentence.
        source: the paper.
        build: ``build(scale, pretrained)`` returns a network from float RGB images (N, 3, S, S) in [0, 1] to logits
            (N,), high for fake; whatever the method does to pixels first is part of it. ``pretrained`` starts it from
            ImageNet's weights, where the method does.
        preprocess: what makes a tested image its input, by scale; the same in training but for the crop's place.
        recipes: how it is trained, by scale.
        pretrained: whether it starts from ImageNet's weights at full scale, as published.
    """

    name: str
    summary: str
    source: str
    build: Callable[[Scale, bool], nn.Module]
    preprocess: Mapping[Scale, Preprocess]
    recipes: Mapping[Scale, Recipe]
    pretrained: bool = False


class Served(nn.Module):
    """A network as it is served: it takes plain pixels.

    Args:
        network: as an architecture builds it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 logits (N, 1)."""
        logits: Tensor = self.network(image.permute(0, 3, 1, 2).float() / 255)
        return logits[:, None]
