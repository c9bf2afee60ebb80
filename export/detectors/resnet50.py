"""ResNet-50 as GenImage trains it: from scratch, on images alone."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import Normalised, ResNet
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess


def residual_body(scale: Scale) -> ResNet:
    """Return ResNet-50, or its miniature: three stages of two blocks, 9 channels wide."""
    return ResNet(Bottleneck, (3, 4, 6, 3)) if scale == "full" else ResNet(Bottleneck, (2, 2, 2), width=9)


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return ResNet-50 with one logit; always from scratch."""
    return Normalised(residual_body(scale))


RESNET50 = Architecture(
    name="resnet50",
    summary="ResNet-50 from scratch",
    source="He et al., Deep Residual Learning, CVPR 2016, as in Zhu et al., GenImage, NeurIPS 2023",
    build=build,
    preprocess={"full": Preprocess(resize=235, filter="bicubic", crop=224), "miniature": Preprocess(crop=128)},
    recipes={
        "full": Recipe(
            epochs=200,
            batch=128,
            optimiser="sgd",
            lr=0.05,
            weight_decay=2e-5,
            warmup=3,
            take="resized",
            erase=0.6,
            rand_augment="rand-m9-mstd0.5-inc1",
            views=3,
        ),
        "miniature": Recipe(epochs=24, batch=32, side=64, lr=2e-3, weight_decay=0.05),
    },
)
"""GenImage's command is timm's: 64 images on each of two devices (128 a step), and where it says nothing, timm's own
weight decay, warm-up and test crop (95 % of a bicubic resizing). Its minimum learning rate and its ten epochs of
cooling down have no field. The published head has as many outputs as classes (two); one logit is the same model."""
