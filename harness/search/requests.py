"""What a searcher may ask while it looks: answers of either model, a gradient, and that an image be kept."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Pixels = NDArray[Any]
"""RGB images, (..., height, width, 3): uint8, a place on the lattice of PNGs; or float32 in [0, 1], between places."""


@dataclass(frozen=True)
class Ask:
    """Forward queries: one an image, to each model that is asked.

    Attributes:
        images: (k, height, width, 3).
        white, black: whom to ask.
    """

    images: Pixels
    white: bool = False
    black: bool = False


@dataclass(frozen=True)
class Differentiate:
    """One gradient.

    Attributes:
        image: (height, width, 3).
        loss: ``margin`` of a label, or ``kl`` from other logits.
        target: float32 (classes,): for a margin its largest value names the label, for KL the other model's logits.
        temperature: of KL.
        logits: whether the white model's logits are wanted too; they cost a query where the gradient is another's.
    """

    image: Pixels
    loss: Literal["margin", "kl"]
    target: Floats
    temperature: float = 1.0
    logits: bool = True


@dataclass(frozen=True)
class Keep:
    """Both models were asked about this image and decide differently; it takes the place of what was kept before."""

    image: Pixels


@dataclass(frozen=True)
class Answers:
    """Logits, float32 (k, classes), of the models that were asked; (0, classes) of the other."""

    white: Floats
    black: Floats


@dataclass(frozen=True)
class Slope:
    """A gradient's answer.

    Attributes:
        logits: (classes,) of the white model; of the model that stands in for it, where only the gradient was wanted.
        loss: its value by these logits.
        gradient: d loss / d image, float32 (height, width, 3), an image's values counted in [0, 1].
    """

    logits: Floats
    loss: float
    gradient: Floats


T = TypeVar("T")

Steps = Generator[Ask | Differentiate | Keep, Answers | Slope | None, T]
"""A search of one image: yields what it asks, is sent the answers, and ends when it has nothing more to try."""


def ask_white(images: Pixels) -> Steps[Floats]:
    """Return the white model's logits, (k, classes)."""
    said = yield Ask(images, white=True)
    assert isinstance(said, Answers)
    return said.white


def ask_black(images: Pixels) -> Steps[Floats]:
    """Return the black model's logits, (k, classes)."""
    said = yield Ask(images, black=True)
    assert isinstance(said, Answers)
    return said.black


def ask_both(images: Pixels) -> Steps[tuple[Floats, Floats]]:
    """Return the white and the black model's logits, (k, classes) each."""
    said = yield Ask(images, white=True, black=True)
    assert isinstance(said, Answers)
    return said.white, said.black


def slope_of_margin(image: Pixels, label: int, classes: int, logits: bool = True) -> Steps[Slope]:
    """Return logit of ``label`` minus the largest other one, with its gradient."""
    said = yield Differentiate(image, "margin", np.eye(1, classes, label, dtype=np.float32)[0], logits=logits)
    assert isinstance(said, Slope)
    return said


def slope_of_kl(image: Pixels, other: Floats, temperature: float) -> Steps[Slope]:
    """Return KL(softmax(other / T) || softmax(own / T)), with its gradient."""
    said = yield Differentiate(image, "kl", other, temperature)
    assert isinstance(said, Slope)
    return said


def keep(image: Pixels) -> Steps[None]:
    """Have an image kept on which the two are known to disagree."""
    yield Keep(image)
