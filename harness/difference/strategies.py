"""How two images become a map of where they differ; what needs autograd reaches the package `export` when called."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from harness.difference.metrics import similarity
from harness.difference.planes import Planes
from harness.errors import SuiteError, problem
from harness.extras import load_extra
from harness.named import Named

Map = NDArray[np.float32]
"""Where two images differ: float32 (H, W), >= 0; only its order and proportions mean something across strategies."""

TORCH = "export.differences"

Channels = Literal["mean", "max", "l2"]


class Cam(Protocol):
    """Where a model looks."""

    def __call__(self, image: Planes, target: int | None) -> tuple[NDArray[np.float32], int]:
        """Return a map float32 (H, W) >= 0 of an image in [0, 1], and the output that it explains.

        Args:
            image: float32 (H, W, 3).
            target: index of the output; None: the largest.
        """
        ...


class Strategy(Named):
    """One strategy; its fields are its parameters."""

    @property
    def needs_torch(self) -> bool:
        """Whether it needs the extra `export`."""
        return False

    @abstractmethod
    def __call__(self, a: Planes, b: Planes, cams: Mapping[str, Cam]) -> Map:
        """Return the map of two pre-processed images; all zero where they are equal."""


def _check_weights(strategy: MetricMap | Gradient) -> MetricMap | Gradient:
    weights = strategy.weights or ""
    if (strategy.metric == "lpips") != bool(weights) or weights != "".join(weights.split()):
        raise ValueError("`weights` just where the metric is lpips: squeeze, or squeeze:FILE without blanks")
    return strategy


class MetricMap(Strategy):
    """A metric's own map, pixel by pixel.

    Attributes:
        metric: ``mae`` |a - b|, ``mse`` its square, ``ssim`` 1 - the structural similarity around the pixel, ``lpips``
            the perceptual distance before it is averaged (needs the extra `export`).
        channels: how a pixel's channels become one; magnitudes, so that opposite signs never cancel.
        weights: of ``lpips``: a torchvision backbone (``squeeze``, ``alex``, ``vgg``), or one with its file
            (``squeeze:FILE``).
    """

    name = "difference"
    telling = frozenset({"metric"})
    metric: Literal["mae", "mse", "ssim", "lpips"] = "mae"
    channels: Channels = "mean"
    weights: str | None = None
    _weights_of_lpips = model_validator(mode="after")(_check_weights)

    @property
    def needs_torch(self) -> bool:
        """For LPIPS alone."""
        return self.metric == "lpips"

    def __call__(self, a: Planes, b: Planes, cams: Mapping[str, Cam]) -> Map:
        """Return the map."""
        if self.metric == "lpips":
            return np.asarray(load_extra(TORCH).lpips_map(a, b, self.weights or ""), np.float32)
        if self.metric == "ssim":
            return combined(np.maximum(1 - similarity(a, b), 0), self.channels)
        difference = np.abs(a - b)
        return combined(difference * difference if self.metric == "mse" else difference, self.channels)


class Tolerant(Strategy):
    """How far a value leaves the range of those around it in the other image, whichever image leaves further.

    An edge that lies elsewhere by up to ``radius`` pixels, or is softer than in the other image, differs nowhere; what
    is smaller than that is missed. Nearer than that to the border the map is 0: what lies beyond is not known.

    Attributes:
        radius: of the square around a pixel, in pixels.
        channels: as of ``difference``.
    """

    name = "tolerant"
    telling = frozenset({"radius"})
    radius: int = Field(default=1, ge=1, le=16)
    channels: Channels = "max"

    def __call__(self, a: Planes, b: Planes, cams: Mapping[str, Cam]) -> Map:
        """Return the map."""
        inside = np.s_[self.radius : -self.radius, self.radius : -self.radius]
        drawn = np.zeros(a.shape[:2], np.float32)
        drawn[inside] = combined(np.maximum(self._left(a, b), self._left(b, a))[inside], self.channels)
        return drawn

    def _left(self, a: Planes, b: Planes) -> Planes:
        """Return how far the first image leaves the range of the second, float32 (H, W, C) >= 0."""
        square = np.ones((2 * self.radius + 1,) * 2, np.uint8)
        above, below = a - cv2.dilate(b, square), cv2.erode(b, square) - a
        return np.asarray(np.maximum(np.maximum(above, below), 0), np.float32).reshape(a.shape)


class Gradient(Strategy):
    """How strongly each pixel of the first image moves a metric: |d metric(b, a) / d a|; needs the extra `export`.

    For ``mse`` and ``psnr`` that is proportional to |a - b|: their gradients order pixels as ``difference`` does. A
    gradient may vanish where images could hardly be further apart: that of ``ms_ssim`` does for an inverted one.

    Attributes:
        metric: what is differentiated; ``dice`` and ``jaccard`` take the images as soft sets.
        channels, weights: as of ``difference``.
    """

    name = "gradient"
    telling = frozenset({"metric"})
    metric: Literal["mse", "psnr", "ssim", "ms_ssim", "lpips", "dice", "jaccard"] = "ssim"
    channels: Channels = "mean"
    weights: str | None = None
    _weights_of_lpips = model_validator(mode="after")(_check_weights)

    @property
    def needs_torch(self) -> bool:
        """Always: it takes autograd."""
        return True

    def __call__(self, a: Planes, b: Planes, cams: Mapping[str, Cam]) -> Map:
        """Return the map."""
        gradient = load_extra(TORCH).gradient_map(a, b, self.metric, self.weights or "")
        return combined(np.abs(gradient), self.channels)


class GradCam(Strategy):
    """Where a model looks otherwise: |cam(a) - cam(b)|, both for what it says of the first image.

    Grad-CAM of Selvaraju et al., ICCV 2017, from a served graph (`harness export gradcam`) or any other source.

    Attributes:
        model: its name.
    """

    name = "gradcam"
    model: str

    def __call__(self, a: Planes, b: Planes, cams: Mapping[str, Cam]) -> Map:
        """Ask the model about both images."""
        cam = cams.get(self.model)
        if cam is None:
            what, got = f"strategy gradcam model={self.model}", f"{sorted(cams) or 'none'}"
            raise SuiteError(problem(what, "a gradcam model of that name", got, "Name it where the models are named"))
        before, target = cam(a, None)
        after, _ = cam(b, target)
        return np.asarray(np.abs(before - after))


STRATEGIES: dict[str, type[Strategy]] = {kind.name: kind for kind in (MetricMap, Tolerant, Gradient, GradCam)}
"""Strategies by name; a new one is a class and its entry here."""


def combined(magnitudes: Planes, channels: Channels) -> Map:
    """Return one value a pixel of magnitudes float32 (H, W, C) >= 0."""
    parts = [magnitudes[:, :, place] for place in range(magnitudes.shape[2])]
    if channels == "max":
        return np.asarray(np.maximum.reduce(parts))
    if channels == "l2":
        return np.asarray(np.sqrt(sum((part * part for part in parts[1:]), parts[0] * parts[0])))
    return np.asarray(sum(parts[1:], parts[0]) / np.float32(len(parts)), np.float32)
