"""NPR: a shallow ResNet-50 on the differences of neighbouring pixels, which up-sampling layers leave alike."""

from __future__ import annotations

from typing import cast

import torch
from timm.data.constants import IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import ResNet
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess


def neighbour_differences(image: Tensor) -> Tensor:
    """Return an image minus its nearest-neighbour half, enlarged again: each pixel minus the first of its 2 x 2.

    Args:
        image: (N, C, H, W) with even sides.
    """
    return image - F.interpolate(image[:, :, ::2, ::2], scale_factor=2.0, mode="nearest")


class Npr(nn.Module):
    """Neighbour differences of an image in [0, 1], then a ResNet cut after its second stage, to logits (N,).

    Args:
        body: from differences (N, 3, H, W) to (N, 1).
    """

    gain: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        gain = 2 / 3 / torch.tensor(IMAGENET_DEFAULT_STD)
        self.register_buffer("gain", gain.reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N,)."""
        return cast(Tensor, self.body(neighbour_differences(image) * self.gain)[:, 0])


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return NPR; always from scratch."""
    width, layers = (64, (3, 4)) if scale == "full" else (20, (2, 2))
    return Npr(ResNet(Bottleneck, layers, width=width, stem=3))


NPR = Architecture(
    name="npr",
    summary="The first half of a ResNet-50 on neighbouring pixel relations",
    source="Tan et al., Rethinking the Up-Sampling Operations in CNN-based Generative Network, CVPR 2024",
    build=build,
    preprocess={"full": Preprocess(crop=224), "miniature": Preprocess(crop=128)},
    recipes={
        "full": Recipe(epochs=50, batch=32, optimiser="adam", lr=2e-4, schedule="constant"),
        "miniature": Recipe(epochs=12, batch=32, side=64, lr=1e-3, weight_decay=0.05),
    },
)
"""Images are cropped and never resized, which would mix the neighbours; the paper tests on whole images of any size and
trains on crops of 224 from images of 256. It makes the learning rate 0.8 times smaller every ten epochs, a schedule
that has no field. The stem is 3 x 3, and differences are of normalised images and times 2/3, both as in its code."""
