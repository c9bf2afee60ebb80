"""GramNet: a ResNet-18 that also sees the Gram matrices of its maps, which are textures wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import Normalised, Trunk, full_precision
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess


def gram(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, C, C): products of all pairs of maps, summed over places, over C H W."""
    channels, height, width = maps.shape[1:]
    flat = maps.flatten(2).float()
    with full_precision(maps.device):
        return (flat @ flat.transpose(1, 2) / (channels * height * width)).unsqueeze(1)


class GramBlock(nn.Module):
    """What one place of the network says of texture: maps, their Gram matrix, and two convolutions over that.

    Args:
        channels: of the maps.
        width: of the Gram matrix, and length of the answer.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.maps = _convolution(channels, width, 1)
        self.texture = nn.Sequential(_convolution(1, width // 2, 2), _convolution(width // 2, width, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width)."""
        return cast(Tensor, self.texture(gram(self.maps(x))).mean(dim=(2, 3)))


def _convolution(channels: int, out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


class GramNet(nn.Module):
    """Pooled features and the textures of the image, the stem, its pooling and every stage but the last.

    Args:
        layers: blocks of each stage.
        width: channels of the stem; 64 as published.
        texture: side of the Gram matrices.
        hidden: of the head.
    """

    def __init__(self, layers: Sequence[int], width: int, texture: int, hidden: int) -> None:
        super().__init__()
        self.trunk = Trunk(BasicBlock, layers, width)
        channels = (3, width, width, *(width * 2**place for place in range(len(layers) - 1)))
        self.textures = nn.ModuleList(GramBlock(count, texture) for count in channels)
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Sequential(
            nn.Linear(self.trunk.channels + texture * len(channels), hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (N, 3, H, W) -> logits (N, 1)."""
        *places, last = self.trunk.maps(x)
        said = [block(place) * self.scale for block, place in zip(self.textures, (x, *places), strict=True)]
        return cast(Tensor, self.head(torch.cat([last.mean(dim=(2, 3)), *said], dim=1)))


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return GramNet; always from scratch."""
    if scale == "miniature":
        return Normalised(GramNet((1, 1, 1, 1), width=6, texture=16, hidden=32))
    return Normalised(GramNet((2, 2, 2, 2), width=64, texture=32, hidden=512))


GRAMNET = Architecture(
    name="gramnet",
    summary="ResNet-18 with Gram matrices of six of its maps",
    source="Liu et al., Global Texture Enhancement for Fake Face Detection in the Wild, CVPR 2020",
    build=build,
    preprocess={"full": Preprocess(resize=512, crop=512), "miniature": Preprocess(crop=128)},
    recipes={
        "full": Recipe(
            epochs=10,
            batch=16,
            optimiser="adam",
            lr=1e-5,
            weight_decay=1e-4,
            schedule="constant",
            take="centre",
            sides=(64, 256),
            flip=0.0,
        ),
        "miniature": Recipe(epochs=16, batch=32, side=64, lr=2e-3, weight_decay=0.05),
    },
)
"""Two published outputs are one logit. Its code feeds pixels of 0 to 255; each convolution of them is batch-normed, so
that ImageNet's normalisation here is the same model but at the borders. It squeezes an image into a square, where this
keeps the aspect and crops; and it starts from an ImageNet ResNet-18 in some of its runs, here from scratch."""
