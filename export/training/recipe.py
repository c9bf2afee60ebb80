"""How a detector is trained: values only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from export.training.augment import parse_augmentation
from harness.errors import SuiteError
from harness.frozen import Frozen


def _canonical(value: Any) -> str:
    try:
        return parse_augmentation(value).id
    except SuiteError as error:
        raise ValueError(str(error)) from error


Augmented = Annotated[str, BeforeValidator(_canonical)]
"""An augmentation, normalised to its canonical id."""

Share = Annotated[float, Field(ge=0, le=1)]


class Recipe(Frozen):
    """Optimiser, schedule and what is done to a training image.

    Attributes:
        epochs: at most so many passes over the training images.
        batch: images an optimiser step, over all processes and accumulated parts.
        optimiser: ``sgd`` (Nesterov where it has momentum), ``adam`` or ``adamw``.
        lr: peak learning rate.
        momentum: of SGD, or Adam's beta 1.
        weight_decay: applied to matrices and kernels alone under ``adamw``.
        schedule: ``constant``, ``cosine`` to 0, or ``plateau``: ten times smaller after ``patience`` epochs without a
            better validation figure, ended below 1e-6.
        warmup: epochs of linear warm-up.
        patience: epochs without a better validation AUROC before training stops (plateau: before a cut).
        take: where a training image's input comes from: ``centre`` crop, ``random`` crop after the card's resizing, or
            ``resized``, a random area of 8-100 % and aspect of 3/4-4/3 resized to the input.
        side: of what is taken, for networks that answer images of any size; None: the card's crop.
        sides: a training image is first resized to a random side between these; None: it is not.
        flip: chance of a horizontal flip.
        erase: chance that a random rectangle is replaced with noise.
        rand_augment: RandAugment in timm's words (``rand-m9-mstd0.5-inc1``); None: none.
        mixup, cutmix: alphas of the Beta distributions that images are mixed by; 0: not.
        smoothing: label smoothing.
        views: views of each image in a batch, the first one clean; above 1, their predictions are pulled together
            (Jensen-Shannon consistency of AugMix, weight 12), and each kind of view has batch norms of its own.
        augment: augmentations by name with their parameters (``blur_jpeg p=0.5``).
        ema: decay of the weights' moving average, which is what is kept; 0: the weights themselves.
    """

    epochs: PositiveInt
    batch: PositiveInt = 64
    optimiser: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: PositiveFloat
    momentum: Share = 0.9
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup: NonNegativeInt = 0
    patience: PositiveInt = 10
    take: Literal["centre", "random", "resized"] = "random"
    side: PositiveInt | None = None
    sides: tuple[PositiveInt, PositiveInt] | None = None
    flip: Share = 0.5
    erase: Share = 0.0
    rand_augment: str | None = None
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    smoothing: Share = 0.0
    views: PositiveInt = 1
    augment: tuple[Augmented, ...] = ()
    ema: Share = 0.0

    @model_validator(mode="after")
    def _taken(self) -> Recipe:
        if self.side and self.take == "centre":
            raise ValueError("side is of what is taken at random: take random or resized")
        return self
