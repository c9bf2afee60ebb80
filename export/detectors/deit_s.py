"""DeiT-S as GenImage trains it: a small vision transformer from scratch."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from export.detectors.architecture import Architecture, Scale
from export.detectors.backbones import Normalised
from export.training.recipe import Recipe
from harness.images.preprocess import Preprocess

SIZES: dict[Scale, dict[str, Any]] = {
    "full": {"drop_path_rate": 0.1},
    "miniature": {"img_size": 64, "patch_size": 4, "embed_dim": 40, "depth": 3, "num_heads": 2},
}


def build(scale: Scale, pretrained: bool) -> nn.Module:
    """Return DeiT-S with one logit; always from scratch."""
    return Normalised(timm.create_model("deit_small_patch16_224", num_classes=1, **SIZES[scale]))


DEIT_S = Architecture(
    name="deit_s",
    summary="DeiT-S from scratch, a vision transformer of patches of 16",
    source="Touvron et al., Training data-efficient image transformers, ICML 2021, as in GenImage",
    build=build,
    preprocess={
        "full": Preprocess(resize=256, filter="bicubic", crop=224),
        "miniature": Preprocess(crop=64),
    },
    recipes={
        "full": Recipe(
            epochs=300,
            batch=512,
            lr=5e-4,
            weight_decay=0.05,
            warmup=5,
            take="resized",
            erase=0.25,
            rand_augment="rand-m9-mstd0.5-inc1",
            mixup=0.8,
            cutmix=1.0,
            smoothing=0.1,
        ),
        "miniature": Recipe(epochs=20, batch=32, lr=1e-3, weight_decay=0.05, warmup=2),
    },
)
"""Its learning rate is meant for 512 images a step, and grows with them. Repeated augmentation, which draws each image
three times an epoch, has no field. No distillation: GenImage has no teacher."""
