"""What an attributor is: what it is asked about, a network from that to its sources' scores, and a recipe."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from export.detectors.architecture import Scale
from harness.frozen import Frozen
from harness.images.preprocess import Preprocess

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs (N, ...) and the indices of their sources, int64 (N,)."""


class Network(nn.Module):
    """A module from inputs (N, ...) to float32 scores (N, sources), the highest one its decision."""

    @abstractmethod
    def settle(self, batches: Batches) -> None:
        """Take what it needs of the training images' statistics, seen once, before any step."""


class Recipe(Frozen):
    """How an attributor's network is trained: AdamW, the rate falling to 0 along a half cosine.

    Attributes:
        epochs: at most so many passes over the training images; 0 where statistics are all that it learns.
        batch: images a step.
        lr: the first learning rate.
        weight_decay: of every weight.
        patience: epochs without a better validation accuracy before training stops.
        crop: side of a random square of each picture that a step is shown, flipped at random; None: the whole.
    """

    epochs: NonNegativeInt
    batch: PositiveInt = 64
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.05
    patience: PositiveInt = 10
    crop: PositiveInt | None = None


@dataclass(frozen=True)
class Attributor:
    """One method of attribution.

    Attributes:
        name: first part of its models' names.
        summary: one sentence.
        source: the paper.
        build: ``build(scale, shape, sources)`` returns a network for inputs of a shape without the batch.
        represent: id of what it is asked about, by scale; empty: uint8 images (H, W, 3).
        preprocess: what makes a tested image that, or what it is made of; by scale.
        recipes: how it is trained, by scale.
        score: space of its scores.
        filter: the residual filter inside its network; empty where there is none.
    """

    name: str
    summary: str
    source: str
    build: Callable[[Scale, tuple[int, ...], int], Network]
    represent: Mapping[Scale, str]
    preprocess: Mapping[Scale, Preprocess]
    recipes: Mapping[Scale, Recipe]
    score: Literal["logit", "statistic"] = "logit"
    filter: str = ""
