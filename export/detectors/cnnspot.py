"""CNNSpot: an ImageNet ResNet-50 trained on blurred and compressed images."""

from __future__ import annotations

from torch import nn
from torchvision.models import ResNet50_Weights

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import Normalised, start_from_imagenet
from export.detectors.resnet50 import residual_body
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return ResNet-50 with one logit; a miniature is always from scratch.

    Raises:
        CheckpointError: ImageNet's weights can't be fetched.
    """
    body = residual_body(scale)
    if pretrained and scale == "full":
        start_from_imagenet(body, ResNet50_Weights.IMAGENET1K_V1.url)
    nn.init.normal_(body.fc.weight, std=0.02)
    return Normalised(body)


CNNSPOT = Architecture(
    name="cnnspot",
    summary="ResNet-50 trained with blur and JPEG compression",
    source="Wang et al., CNN-generated Images Are Surprisingly Easy to Spot... for Now, CVPR 2020",
    build=build,
    preprocess={"full": Preprocess(resize=256, crop=224), "miniature": Preprocess(crop=128)},
    recipes={
        "full": Recipe(
            epochs=10_000,
            optimiser="adam",
            lr=1e-4,
            schedule="plateau",
            patience=5,
            augment=("blur_jpeg p=0.5",),
        ),
        "miniature": Recipe(epochs=24, batch=32, side=64, lr=2e-3, weight_decay=0.05, augment=("blur_jpeg p=0.5",)),
    },
    pretrained=True,
)
"""The epochs are its code's, a bound never reached: the plateau ends it. Its plateau is of validation accuracy, here of
AUROC. ImageNet's weights are torchvision's first ones, which it used."""
