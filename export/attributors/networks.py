"""Networks of attributors: residual ones for maps and pixels, a perceptron for vectors. They make no representation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from export.attributors.attributor import Batches, Network
from export.detectors.architecture import Scale
from export.detectors.backbones import ResNet

HIDDEN = {"full": 512, "miniature": 64}
"""Units of a perceptron's hidden layer."""

DROPOUT = 0.2

FLAT = 1e-6
"""A deviation below this, relative to the largest one, is none: what does not vary is not blown up."""


class Standardised(Network):
    """A body behind a standardisation by the training images' mean and deviation.

    Of maps (C, H, W) these are one a channel, of vectors (D,) one a dimension.

    Args:
        body: from standardised inputs to scores (N, sources).
        shape: of an input, without the batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = body
        self.pooled = tuple(range(2, len(shape) + 1))
        sizes = (1, shape[0], *(1 for _ in self.pooled))
        self.register_buffer("mean", torch.zeros(sizes))
        self.register_buffer("std", torch.ones(sizes))

    def settle(self, batches: Batches) -> None:
        """Set mean and deviation, by sums in float64."""
        count, total, squares = 0, torch.zeros(self.mean.shape).double(), torch.zeros(self.mean.shape).double()
        for inputs, _ in batches:
            values = inputs.cpu().double()
            count += values.numel() // self.mean.numel()
            total += values.sum(dim=(0, *self.pooled), keepdim=True)
            squares += (values**2).sum(dim=(0, *self.pooled), keepdim=True)
        mean = total / count
        std = (squares / count - mean**2).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > FLAT * std.max(), std, 1.0))

    def forward(self, representation: Tensor) -> Tensor:
        """Float32 (N, ...) -> float32 (N, sources)."""
        scores: Tensor = self.body((representation - self.mean) / self.std)
        return scores


class Pixels(Network):
    """A network for maps that is shown plain pixels.

    Args:
        maps: takes images (N, 3, H, W) in [0, 1].
    """

    def __init__(self, maps: Standardised) -> None:
        super().__init__()
        self.maps = maps

    def settle(self, batches: Batches) -> None:
        """Set mean and deviation of the channels."""
        self.maps.settle((_channels_first(image), source) for image, source in batches)

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 (N, sources)."""
        scores: Tensor = self.maps(_channels_first(image))
        return scores


def map_network(scale: Scale, shape: tuple[int, ...], sources: int) -> Standardised:
    """Return ResNet-50 for maps (C, H, W), or its miniature."""
    small = ResNet(BasicBlock, (1, 1, 1), width=8, inputs=shape[0], outputs=sources)
    return Standardised(small if scale == "miniature" else _resnet50(shape[0], sources), shape)


def picture_network(scale: Scale, shape: tuple[int, ...], sources: int) -> Standardised:
    """Return ResNet-50 for maps (C, H, W) that are pictures, or a miniature that halves no side before its blocks.

    Pictures of any size will do: traces lie between neighbouring pixels, wherever they are.
    """
    small = ResNet(BasicBlock, (1, 1, 1), width=8, stem=3, inputs=shape[0], outputs=sources, stride=1)
    return Standardised(small if scale == "miniature" else _resnet50(shape[0], sources), shape)


def pixel_network(scale: Scale, shape: tuple[int, ...], sources: int) -> Pixels:
    """Return the same for images (H, W, 3)."""
    height, width, channels = shape
    return Pixels(picture_network(scale, (channels, height, width), sources))


def vector_network(scale: Scale, shape: tuple[int, ...], sources: int) -> Standardised:
    """Return a perceptron of one hidden layer for vectors (D,)."""
    hidden = HIDDEN[scale]
    body = nn.Sequential(nn.Linear(shape[0], hidden), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(hidden, sources))
    return Standardised(body, shape)


def _resnet50(inputs: int, sources: int) -> ResNet:
    return ResNet(Bottleneck, (3, 4, 6, 3), inputs=inputs, outputs=sources)


def _channels_first(image: Tensor) -> Tensor:
    return image.permute(0, 3, 1, 2).float() / 255
