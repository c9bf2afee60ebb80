"""Spec: a ResNet-34 on log spectra, where up-sampling shows as copies of the centre."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import ResNet34_Weights
from torchvision.models.resnet import BasicBlock

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import ResNet, start_from_imagenet
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess

NARROWEST = 1.0
"""Least span of log magnitudes that is stretched to [-1, 1]. The published code divides by any span, by 0 for a
constant image; noise of any strength spans 2, so that this changes only images that are all but empty, where float32's
rounding errors would be stretched."""


class LogSpectrum(nn.Module):
    """Log magnitudes of each channel's Fourier transform, their 5th and 95th percentiles put to -1 and 1, clipped.

    The transform is products with real matrices, which any runtime has: a quarter of the plane is computed, and the
    rest follows, for images are real. It is in float64: float32's rounding errors, beside a mean of some ten thousand,
    are as large as the 0.001 that is added before the logarithm. Mixed precision leaves float64 alone.

    Args:
        side: of the images in pixels, even.
    """

    cos: Tensor
    sin: Tensor
    inner: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        half = side // 2
        turns = 2 * math.pi / side * (torch.outer(torch.arange(half + 1), torch.arange(side)) % side).double()
        self.register_buffer("cos", turns.cos(), persistent=False)
        self.register_buffer("sin", turns.sin(), persistent=False)
        self.register_buffer("inner", torch.arange(half - 1, 0, -1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, side, side) in [0, 1] -> the same shape in [-1, 1]; frequency 0 is at the top left."""
        spectrum = torch.log(self.magnitudes(image) + 1e-3).float()
        low, high = percentile(spectrum, 5)[..., None], percentile(spectrum, 95)[..., None]
        return ((spectrum - low) * 2 / (high - low).clamp_min(NARROWEST) - 1).clamp(-1, 1)

    def magnitudes(self, image: Tensor) -> Tensor:
        """(N, C, side, side) -> magnitudes of the Fourier transform, float64, the same shape."""
        even, odd = image.double() @ self.cos.T, image.double() @ self.sin.T
        cos_even, sin_even, cos_odd, sin_odd = self.cos @ even, self.sin @ even, self.cos @ odd, self.sin @ odd
        down = ((cos_even - sin_odd).square() + (sin_even + cos_odd).square()).sqrt()
        up = ((cos_even + sin_odd).square() + (sin_even - cos_odd).square()).sqrt()
        left = torch.cat([down, up.index_select(2, self.inner)], dim=2)
        right = torch.cat([up, down.index_select(2, self.inner)], dim=2).index_select(3, self.inner)
        return torch.cat([left, right], dim=3)


def percentile(maps: Tensor, percent: float) -> Tensor:
    """Return a percentile of each map, interpolated linearly between the two nearest values as NumPy does it.

    Args:
        maps: (N, C, H, W); H times W fixed, for only the values beyond the percentile are sorted.
        percent: above 0 and below 100.

    Returns:
        (N, C, 1).
    """
    values = maps.flatten(2)
    last = maps.shape[2] * maps.shape[3] - 1
    place = percent / 100 * last
    below, share = math.floor(place), place - math.floor(place)
    if percent < 50:
        nearest = torch.topk(values, below + 2, dim=2, largest=False).values
        low, high = nearest[..., below : below + 1], nearest[..., below + 1 : below + 2]
    else:
        nearest = torch.topk(values, last - below + 1, dim=2).values
        low, high = nearest[..., last - below :], nearest[..., last - below - 1 : last - below]
    return low + (high - low) * share


class Spec(nn.Module):
    """A ResNet on log spectra: images in [0, 1] to logits (N,).

    Args:
        body: from spectra (N, 3, side, side) to (N, 1).
        side: of the images in pixels.
    """

    def __init__(self, body: nn.Module, side: int) -> None:
        super().__init__()
        self.spectrum = LogSpectrum(side)
        self.body = body

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N,)."""
        return cast(Tensor, self.body(self.spectrum(image))[:, 0])


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return Spec; a miniature is always from scratch.

    Raises:
        CheckpointError: ImageNet's weights can't be fetched.
    """
    if scale == "miniature":
        return Spec(ResNet(BasicBlock, (1, 1, 1), width=12), 128)
    body = ResNet(BasicBlock, (3, 4, 6, 3))
    if pretrained:
        start_from_imagenet(body, ResNet34_Weights.IMAGENET1K_V1.url)
    return Spec(body, 224)


SPEC = Architecture(
    name="spec",
    summary="ResNet-34 on log spectra",
    source="Zhang et al., Detecting and Simulating Artifacts in GAN Fake Images, WIFS 2019",
    build=build,
    preprocess={"full": Preprocess(resize=256, crop=224), "miniature": Preprocess(crop=128)},
    recipes={
        "full": Recipe(
            epochs=10, optimiser="sgd", lr=0.01, weight_decay=1e-4, schedule="constant", take="centre", flip=0.0
        ),
        "miniature": Recipe(epochs=14, batch=32, lr=2e-3, weight_decay=0.05),
    },
    pretrained=True,
)
"""Two published outputs, real and fake, are one logit, high for fake. The published optimiser's plain momentum is
damped by 0.9, which makes its steps ten times smaller than this learning rate's with Nesterov's; that has no field. The
spectrum is of the full band and its centre is not shifted, as published. AutoGAN, which the paper trains on, is a
generator of fakes and no part of the detector: GenImage trains on images of generators themselves."""
