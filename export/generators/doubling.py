"""Ways to double an image's size, each with its own trace in the spectrum; exact as the layers that they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from export.generators.dyadic import ACTIVATION_STEP, Activation, DyadicConv, activate, snap


class Transposed(nn.Module):
    """Doubles the size by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = activate, kernel: int = 3) -> None:
        super().__init__()
        self.activation = activation
        self.conv = DyadicConv(inputs, outputs, kernel, stride=2, transposed=True)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return self.activation(self.conv(x))


class Nearest(nn.Module):
    """Doubles the size by repeating pixels, then convolves."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = activate) -> None:
        super().__init__()
        self.activation = activation
        self.conv = DyadicConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return self.activation(self.conv(_repeat(x)))


class Bilinear(Nearest):
    """Doubles the size bilinearly, then convolves.

    Half-pixel bilinear doubling is repetition followed by the kernel (1, 2, 1)/4 along each side.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        padded = F.pad(_repeat(x), (1, 1, 1, 1), mode="replicate")
        rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
        both = rows[:, :, :, :-2] + 2 * rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
        return self.activation(self.conv(snap(both / 16, ACTIVATION_STEP)))


class Shuffle(nn.Module):
    """Doubles the size by rearranging channels into pixels."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = activate) -> None:
        super().__init__()
        self.activation = activation
        self.conv = DyadicConv(inputs, 4 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return F.pixel_shuffle(self.activation(self.conv(x)), 2)


def _repeat(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


DOUBLINGS: Mapping[str, Callable[[int, int, Activation], nn.Module]] = {
    "transposed": Transposed,
    "nearest": Nearest,
    "bilinear": Bilinear,
    "shuffle": Shuffle,
}
"""Doublings by their name in designs; each is made from channels in, channels out and the nonlinearity."""
