"""Residual filters: what is left of an image when its content is taken away. DIF looks for fingerprints in it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.checkpoints import read_tensors
from harness.errors import CheckpointError, problem

DEEPEST, WIDEST = 64, 512
"""Bounds of what a file of weights may ask for."""


class DnCNN(nn.Module):
    """Predicts the noise in an image (Zhang et al., TIP 2017): bias-free convolutions, batch norm, ReLU.

    Args:
        depth: convolutions.
        width: channels between them.
    """

    def __init__(self, depth: int = 10, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1, bias=False))
        self.depth, self.width = depth, width

    def forward(self, x: Tensor) -> Tensor:
        """RGB in [0, 1], (N, 3, H, W) -> residual of the same shape: image minus clean image."""
        residual: Tensor = self.layers(x)
        return residual

    def folded(self) -> nn.Sequential:
        """Return the same function without batch norm, for inference."""
        layers: list[nn.Module] = []
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
                layers[-1] = nn.utils.fuse_conv_bn_eval(layers[-1].eval(), layer.eval())
            else:
                layers.append(layer)
        return nn.Sequential(*layers).eval()

    def save(self, path: Path) -> None:
        """Write the weights as a plain state dict, with depth and width."""
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"depth": self.depth, "width": self.width, "state": self.state_dict()}, path)

    @classmethod
    def load(cls, path: Path) -> DnCNN:
        """Read weights; nothing in the file is executed, and every weight must be there.

        Raises:
            CheckpointError: no such file, or not these weights.
        """
        expected, do = "weights of a residual filter", "Train it again"
        said = read_tensors(path, expected, do)
        try:
            depth, width = int(said["depth"]), int(said["width"])
            if not (2 <= depth <= DEEPEST and 1 <= width <= WIDEST):
                raise ValueError(f"depth {depth} and width {width}")
            network = cls(depth, width)
            network.load_state_dict(said["state"], strict=True)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            what = str(error).partition("\n")[0]
            raise CheckpointError(problem(str(path), expected, what, do)) from error
        return network.eval()


class Bilateral(nn.Module):
    """Image minus its bilateral filter (Tomasi and Manduchi, ICCV 1998), the classical residual.

    The range weight is a Gaussian of the summed absolute colour difference and the window is round, as OpenCV has it.

    Args:
        diameter: of the window in pixels, odd.
        sigma_colour: of the range weight, in grey levels of 255.
        sigma_space: of the spatial weight, in pixels.
    """

    def __init__(self, diameter: int = 5, sigma_colour: float = 25.0, sigma_space: float = 2.0) -> None:
        super().__init__()
        self.radius = diameter // 2
        self.colour = sigma_colour / 255.0
        self.space = sigma_space

    def forward(self, x: Tensor) -> Tensor:
        """RGB in [0, 1], (N, 3, H, W) -> residual of the same shape."""
        r = self.radius
        height, width = x.shape[2], x.shape[3]
        padded = F.pad(x, (r, r, r, r), mode="reflect")
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
        for dy in range(-r, r + 1):
            for dx in range(-r, r + 1):
                if dy * dy + dx * dx > r * r:
                    continue
                moved = padded[:, :, r + dy : r + dy + height, r + dx : r + dx + width]
                distance = (moved - x).abs().sum(dim=1, keepdim=True)
                weight = torch.exp(-(distance**2) / (2 * self.colour**2) - (dy * dy + dx * dx) / (2 * self.space**2))
                total, weights = total + weight * moved, weights + weight
        return x - total / weights


def load_filter(source: str) -> nn.Module:
    """Return a residual filter ready for inference.

    Args:
        source: ``bilateral``, or a file of DnCNN weights.

    Raises:
        CheckpointError: the weights can't be used.
    """
    return Bilateral().eval() if source == "bilateral" else DnCNN.load(Path(source)).folded()
