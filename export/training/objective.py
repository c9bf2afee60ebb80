"""What a step minimises: the cross-entropy of augmented images, mixed or seen several times."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from timm.data.random_erasing import RandomErasing
from timm.layers.split_batchnorm import convert_splitbn_model
from timm.loss.jsd import JsdCrossEntropy
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from export.training.augment import compose, parse_augmentation
from export.training.recipe import Recipe

JSD_WEIGHT = 12.0
"""Of the consistency of views (Hendrycks et al., AugMix, ICLR 2020)."""


class Objective:
    """A recipe's loss on a batch of pixels.

    Args:
        recipe: what is done to images, and how predictions are judged.
        device: where.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe = recipe
        self.augment = compose([parse_augmentation(item) for item in recipe.augment])
        self.erase = (
            RandomErasing(recipe.erase, mode="pixel", device=str(device), num_splits=recipe.views)
            if recipe.erase
            else None
        )
        mixes = [v2.MixUp(alpha=recipe.mixup, num_classes=2)] if recipe.mixup else []
        mixes += [v2.CutMix(alpha=recipe.cutmix, num_classes=2)] if recipe.cutmix else []
        self.mix = v2.RandomChoice(mixes) if mixes else None
        self.consistent = JsdCrossEntropy(recipe.views, JSD_WEIGHT, recipe.smoothing) if recipe.views > 1 else None

    def __call__(
        self, network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the mean loss.

        Args:
            network: float images (N, 3, S, S) in [0, 1] to logits (N,).
            images: uint8 (views, N, 3, S, S).
            labels: 0 real, 1 fake, float (N,).
            generator: of the augmentations; everything else draws from torch's, numpy's and Python's own.
        """
        views = list(images.float() / 255)
        first = len(views) > 1
        views = views[:first] + [self.augment(item, generator) for item in views[first:]]
        batch = torch.cat(views)
        if self.erase is not None:
            batch = self.erase(batch)
        if self.consistent is not None:
            logits = network(batch)
            loss: Tensor = self.consistent(torch.stack([torch.zeros_like(logits), logits], dim=1), labels.long())
            return loss
        if self.mix is not None:
            batch, shares = self.mix(batch, labels.long())
            labels = shares[:, 1]
        smooth = self.recipe.smoothing
        return functional.binary_cross_entropy_with_logits(network(batch), labels * (1 - smooth) + smooth / 2)


def split_norms(network: nn.Module, views: int) -> None:
    """Give each kind of view batch norms of its own, in place; the clean view's serve (Xie et al., AdvProp, 2020)."""
    if views > 1:
        for name, child in network.named_children():
            setattr(network, name, convert_splitbn_model(child, num_splits=views))


def without_splits(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state without the batch norms of augmented views."""
    return {name: value for name, value in state.items() if ".aux_bn." not in name}
