"""F3Net: two Xceptions, on an image's frequency bands and on local frequency statistics, that attend to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import fetch, full_precision, load_backbone
from export.detectors.xception import Widths, Xception, widen_input
from export.training.recipe import Recipe
from harness.errors import CheckpointError, problem
from harness.images.preprocess import Preprocess

WINDOW, STRIDE, STATISTICS = 10, 2, 6
"""Side and step of the windows in pixels, and bands in each."""

FAINTEST = 1e-2
"""Added to a window's coefficients, in grey levels, before their logarithm. The published 1e-15 is below float32's
rounding errors in flat windows (about 1e-4), which would be statistics of the processor."""


def dct_matrix(side: int) -> Tensor:
    """Return the orthonormal DCT-II (side, side), float64: ``matrix @ x`` transforms columns."""
    steps = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi / side * torch.outer(steps, steps + 0.5)) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix


def bands(diagonals: Tensor, edges: Sequence[tuple[float, float]]) -> Tensor:
    """Return 0/1 masks (bands, side, side) of the coefficients with ``low < row + column <= high``.

    Args:
        diagonals: row + column of each coefficient, (side, side).
        edges: low and high of each band.
    """
    masks = [(diagonals > low) & (diagonals <= high) for low, high in edges]
    return torch.stack(masks).float()


def diagonals(side: int) -> Tensor:
    """Return row + column of each of (side, side) coefficients, int16."""
    steps = torch.arange(side, dtype=torch.int16)
    return steps[:, None] + steps


def signed_sigmoid(x: Tensor) -> Tensor:
    """Return values in (-1, 1), 0 at 0."""
    return 2 * x.sigmoid() - 1


class FrequencyBands(nn.Module):
    """Frequency-aware decomposition: an image's low, middle, high and all frequencies, by learned masks on its DCT.

    The masks pass ``row + column`` of (0, 1/16], (1/16, 1/8], (1/8, 1] and (0, 2] sides: as published, none of them
    the mean, before training.

    Args:
        side: of the images in pixels.
    """

    dct: Tensor
    diagonals: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.edges = ((0, side // 16), (side // 16, side // 8), (side // 8, side), (0, 2 * side))
        self.register_buffer("dct", dct_matrix(side).float(), persistent=False)
        self.register_buffer("diagonals", diagonals(side), persistent=False)
        self.learned = nn.Parameter(torch.randn(4, side, side) * 0.1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, side, side) -> (N, 12, side, side), band by band."""
        masks = bands(self.diagonals.float(), self.edges) + signed_sigmoid(self.learned)
        spectrum = self.dct @ image @ self.dct.T
        return (self.dct.T @ (spectrum[:, None] * masks[:, None]) @ self.dct).flatten(1, 2)


class LocalStatistics(nn.Module):
    """Local frequency statistics: log DCT magnitudes of windows of grey, averaged over bands by learned masks.

    The bands are six equal shares of the diagonals, as published without the window's mean. The DCT of all windows is
    one convolution with its basis images.
    """

    basis: Tensor
    fixed: Tensor
    counts: Tensor
    grey: Tensor

    def __init__(self) -> None:
        super().__init__()
        matrix = dct_matrix(WINDOW)
        basis = torch.einsum("ui,vj->uvij", matrix, matrix).reshape(-1, 1, WINDOW, WINDOW)
        width = 2 * WINDOW / STATISTICS
        fixed = bands(diagonals(WINDOW), [(width * band, width * (band + 1)) for band in range(STATISTICS)])
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("counts", fixed.sum(dim=(1, 2), keepdim=True), persistent=False)
        self.register_buffer("grey", torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1), persistent=False)
        self.learned = nn.Parameter(torch.randn(STATISTICS, WINDOW, WINDOW) * 0.1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, 6, H / 2, W / 2), rounded down for odd sides."""
        levels = ((image * self.grey).sum(dim=1, keepdim=True) + 1) * 122.5
        coefficients = F.conv2d(levels, self.basis, stride=STRIDE, padding=4)
        masks = (self.fixed + signed_sigmoid(self.learned)) / (self.counts * math.log(10))
        return F.conv2d(torch.log(coefficients.abs() + FAINTEST), masks.reshape(STATISTICS, -1, 1, 1))


class CrossAttention(nn.Module):
    """Each stream adds the other's maps where both agree: attention of rows on rows, within every channel.

    Args:
        channels: of either stream.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.queries = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.keys = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.gains = nn.Parameter(torch.zeros(2))
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1, groups=channels), nn.BatchNorm2d(channels)) for _ in range(2)
        )

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Two (N, C, S, S) -> the same two, each with what it takes of the other."""
        energy = self.queries[0](a) @ self.keys[0](a).transpose(2, 3)
        energy = energy + self.queries[1](b) @ self.keys[1](b).transpose(2, 3)
        attention, gains = energy.softmax(dim=3), signed_sigmoid(self.gains)
        return a + self.updates[0](b * attention * gains[0]), b + self.updates[1](a * attention * gains[1])


class F3Net(nn.Module):
    """Both streams, mixed in the middle and at the end: images in [0, 1] to logits (N,).

    Args:
        side: of the images in pixels.
        widths: of both Xceptions.
    """

    def __init__(self, side: int, widths: Widths) -> None:
        super().__init__()
        self.bands, self.statistics = FrequencyBands(side), LocalStatistics()
        self.streams = nn.ModuleList([Xception(12, 2, widths), Xception(STATISTICS, 1, widths)])
        self.mixes = nn.ModuleList([CrossAttention(widths.entry[-1]), CrossAttention(widths.exit[0])])
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * widths.exit[2], 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N,)."""
        signed = image * 2 - 1
        with full_precision(image.device):
            bands, statistics = self.bands(signed), self.statistics(signed)
        first, second = cast(tuple[Xception, Xception], tuple(self.streams))
        a, b = self.mixes[0](first.early(bands), second.early(statistics))
        a, b = self.mixes[1](first.late(a), second.late(b))
        return cast(Tensor, self.head(torch.cat([first.pooled(a), second.pooled(b)], dim=1))[:, 0])


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return F3Net; a miniature is always from scratch.

    Raises:
        CheckpointError: ImageNet's weights can't be fetched.
    """
    if scale == "miniature":
        return F3Net(64, Widths(stem=(8, 12), entry=(16, 24, 32), middle=2, exit=(40, 48, 64)))
    network = F3Net(299, Widths())
    if pretrained:
        url = _xception_url()
        weights = fetch(url)
        for stream in network.streams:
            load_backbone(stream, widen_input(weights, cast(Xception, stream).conv1.in_channels), url)
    return network


def _xception_url() -> str:
    """Return where ImageNet's weights of Xception are published."""
    said = timm.get_pretrained_cfg("legacy_xception")
    if said is None or not isinstance(said.url, str):
        raise CheckpointError(problem("ImageNet weights of Xception", "an address", "none", "Train from scratch"))
    return said.url


F3NET = Architecture(
    name="f3net",
    summary="Two Xceptions on frequency bands and local frequency statistics, with cross-attention",
    source="Qian et al., Thinking in Frequency, ECCV 2020",
    build=build,
    preprocess={"full": Preprocess(resize=299, crop=299), "miniature": Preprocess(crop=64)},
    recipes={
        "full": Recipe(epochs=60, batch=128, optimiser="sgd", lr=2e-3),
        "miniature": Recipe(epochs=14, batch=32, lr=2e-3, weight_decay=0.05),
    },
    pretrained=True,
)
"""Two published outputs are one logit. The recipe is the paper's (150 000 steps, which are about 60 epochs of one of
GenImage's generators); which one GenImage used is not known. Learned masks start random, sigma 0.1."""
