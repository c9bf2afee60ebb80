"""Xception of any width, cut into three parts so that two of them can look at each other between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timm.models.xception import Block, SeparableConv2d
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Widths:
    """Channels of an Xception (Chollet, CVPR 2017), as published unless said otherwise.

    Attributes:
        stem: of the two first convolutions.
        entry: of the blocks that halve the sides.
        middle: number of blocks as wide as the last of those; even.
        exit: of the last block, which halves the sides too, and of two convolutions after it.
    """

    stem: tuple[int, int] = (32, 64)
    entry: tuple[int, ...] = (128, 256, 728)
    middle: int = 8
    exit: tuple[int, int, int] = (1024, 1536, 2048)


class Xception(nn.Module):
    """timm's layers under timm's names, without a head.

    Args:
        channels: of the input.
        stride: of the first convolution; 2 as published.
        widths: of everything else.
    """

    def __init__(self, channels: int, stride: int, widths: Widths) -> None:
        super().__init__()
        first, second = widths.stem
        self.conv1, self.bn1 = nn.Conv2d(channels, first, 3, stride, bias=False), nn.BatchNorm2d(first)
        self.conv2, self.bn2 = nn.Conv2d(first, second, 3, bias=False), nn.BatchNorm2d(second)
        blocks: list[nn.Module] = []
        for place, (wide, out) in enumerate(zip((second, *widths.entry), widths.entry, strict=False)):
            blocks.append(Block(wide, out, 2, 2, start_with_relu=place > 0))
        blocks += [Block(widths.entry[-1], widths.entry[-1], 3, 1) for _ in range(widths.middle)]
        blocks.append(Block(widths.entry[-1], widths.exit[0], 2, 2, grow_first=False))
        self.blocks = [f"block{place + 1}" for place in range(len(blocks))]
        for name, block in zip(self.blocks, blocks, strict=True):
            self.add_module(name, block)
        self.centre = len(widths.entry) + widths.middle // 2
        self.conv3, self.bn3 = SeparableConv2d(widths.exit[0], widths.exit[1], 3, 1, 1), nn.BatchNorm2d(widths.exit[1])
        self.conv4, self.bn4 = SeparableConv2d(widths.exit[1], widths.exit[2], 3, 1, 1), nn.BatchNorm2d(widths.exit[2])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def early(self, x: Tensor) -> Tensor:
        """Return the maps in the middle of the middle flow (after block 7 as published)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self._through(self.blocks[: self.centre], x)

    def late(self, x: Tensor) -> Tensor:
        """From those to the maps of the last block (12 as published)."""
        return self._through(self.blocks[self.centre :], x)

    def pooled(self, x: Tensor) -> Tensor:
        """From those to features (N, channels)."""
        x = F.relu(self.bn3(self.conv3(x)))
        return F.relu(self.bn4(self.conv4(x))).mean(dim=(2, 3))

    def _through(self, names: list[str], x: Tensor) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x


def widen_input(weights: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Repeat the first kernels of an RGB network over more channels, scaled so that equal inputs give equal maps.

    Args:
        weights: of a network whose first layer is ``conv1``.
        channels: a multiple of 3.
    """
    copies = channels // 3
    return {**weights, "conv1.weight": weights["conv1.weight"].repeat(1, copies, 1, 1) / copies}
