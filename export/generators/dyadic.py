"""Layers whose arithmetic is exact in float32, so that a generator's pixels are the same on every machine.

Weights and activations are whole multiples of powers of two. Every product and every partial sum is then a whole
multiple of a unit, and as long as none reaches 2**24 units, float32 holds it without rounding: the order of summation,
fused multiply-adds and vector widths can't change a bit. `check_exact` proves the bound for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import ParityError, problem

WEIGHT_STEP = 2.0**-7
ACTIVATION_STEP = 2.0**-7
PIXEL_STEP = 2.0**-8
ACTIVATION_MAX = 4.0 - ACTIVATION_STEP
WEIGHT_MAX = 2.0 - WEIGHT_STEP
MANTISSA = 2.0**24


def snap(values: Tensor, step: float) -> Tensor:
    """Round to multiples of ``step`` (half to even); the gradient passes as if nothing had happened."""
    snapped = torch.round(values / step) * step
    return values + (snapped - values).detach() if values.requires_grad else snapped


def activate(values: Tensor) -> Tensor:
    """Clip to [0, 4) and round to the activations' grid."""
    return snap(torch.clamp(values, 0.0, ACTIVATION_MAX), ACTIVATION_STEP)


def activate_leaky(values: Tensor) -> Tensor:
    """Give negative values a slope of 1/4, clip to [-1, 4) and round to the activations' grid."""
    return snap(torch.clamp(torch.maximum(values, values / 4), -1.0, ACTIVATION_MAX), ACTIVATION_STEP)


Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Activation] = {"relu": activate, "leaky": activate_leaky}
"""Nonlinearities by their name in designs; both stay within (-4, 4)."""


class DyadicConv(nn.Module):
    """Convolution with weights on the grid; optionally transposed with stride 2. No activation.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel.
        stride: of the convolution; 2 doubles the size where transposed.
        transposed: whether it is a transposed convolution.
        grid: step of its inputs.
        peak: largest magnitude of its inputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        transposed: bool = False,
        grid: float = ACTIVATION_STEP,
        peak: float = ACTIVATION_MAX,
    ) -> None:
        super().__init__()
        self.stride, self.transposed, self.grid, self.peak = stride, transposed, grid, peak
        self.padding = (kernel - 1) // 2
        shape = (inputs, outputs, kernel, kernel) if transposed else (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(outputs))

    @property
    def unit(self) -> float:
        """Every product and partial sum is a whole multiple of it."""
        return self.grid * WEIGHT_STEP

    def grid_weight(self) -> Tensor:
        """Return the weights on their grid."""
        return snap(torch.clamp(self.weight, -WEIGHT_MAX, WEIGHT_MAX), WEIGHT_STEP)

    def grid_bias(self) -> Tensor:
        """Return the bias as a multiple of the unit."""
        return snap(self.bias, self.unit)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) on the input grid -> (N, outputs, H', W') in whole units."""
        if not self.transposed:
            return F.conv2d(x, self.grid_weight(), self.grid_bias(), self.stride, self.padding)
        extra = self.weight.shape[-1] % 2
        return F.conv_transpose2d(x, self.grid_weight(), self.grid_bias(), self.stride, self.padding, extra)


def check_exact(network: nn.Module) -> None:
    """Prove that no sum of any layer can leave float32's 24 bits.

    Raises:
        ParityError: a layer whose largest possible sum does not fit.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, DyadicConv):
            weight = layer.grid_weight().detach().abs()
            per_output = weight.sum(dim=(0, 2, 3) if layer.transposed else (1, 2, 3))
            most = float((per_output * layer.peak + layer.grid_bias().detach().abs()).max()) / layer.unit
            if most >= MANTISSA:
                raise ParityError(
                    problem(
                        f"layer {name}", f"sums below {MANTISSA:.0f} units", f"{most:.0f}", "Train with smaller weights"
                    )
                )
