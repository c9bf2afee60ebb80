"""Models as functions of pixels: lays images out as each model wants them, asks in batches, checks what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Tensors
from harness.errors import EndpointBadAnswer, problem
from harness.images.preprocess import Preprocess, preprocess
from harness.search.requests import Differentiate, Floats, Pixels, Slope

if TYPE_CHECKING:
    from harness.models import Model

KL, MARGIN = 0, 1
"""Values of a gradient entry's input ``mode``."""


@dataclass(frozen=True)
class Oracle:
    """One model of a pair.

    Attributes:
        model: an opened classifier, or a gradient entry.
    """

    model: Model

    @property
    def classes(self) -> int:
        """How many scores an image has."""
        return self.model.card.outputs

    def logits(self, images: Sequence[Pixels], batch: int | None = None) -> Floats:
        """Return float32 (k, classes).

        Args:
            images: each (height, width, 3); models that take pixels are asked about float images rounded.
            batch: images a request; the model's own where None.

        Raises:
            EndpointError: no usable answer.
        """
        size = batch or self.model.backend.options.batch
        parts = [self._ask(images[start : start + size]) for start in range(0, len(images), size)]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def slopes(self, requests: Sequence[Differentiate]) -> list[Slope]:
        """Return the gradients asked for.

        Raises:
            EndpointError: no usable answer.
        """
        size = self.model.backend.options.batch
        return [
            item
            for start in range(0, len(requests), size)
            for item in self._differentiate(requests[start : start + size])
        ]

    def _ask(self, images: Sequence[Pixels]) -> Floats:
        card = self.model.card
        answer = self.model.backend.infer({card.input: self._input(images)})
        return self._checked(answer, card.output, (len(images), self.classes))

    def _differentiate(self, requests: Sequence[Differentiate]) -> list[Slope]:
        card, count = self.model.card, len(requests)
        values = self._input([item.image for item in requests])
        answer = self.model.backend.infer(
            {
                card.input: values,
                "target": np.stack([item.target for item in requests]).astype(np.float32),
                "mode": np.array([[KL if item.loss == "kl" else MARGIN] for item in requests], np.int32),
                "temperature": np.array([[item.temperature] for item in requests], np.float32),
            }
        )
        logits = self._checked(answer, card.output, (count, self.classes))
        losses = self._checked(answer, "loss", (count, 1))
        gradients = self._checked(answer, "gradient", values.shape)
        scale = _scale(card.preprocess)
        if card.preprocess.layout == "NCHW":
            gradients = gradients.transpose(0, 2, 3, 1)
        return [
            Slope(logits[row], float(losses[row, 0]), np.ascontiguousarray(gradients[row] * scale))
            for row in range(count)
        ]

    def _input(self, images: Sequence[Pixels]) -> NDArray[np.generic]:
        return np.stack([model_input(image, self.model.card.preprocess) for image in images])

    def _checked(self, answer: Tensors, name: str, wanted: tuple[int, ...]) -> Floats:
        values = answer.get(name)
        if values is None or values.shape != wanted:
            got = "none" if values is None else str(values.shape)
            what = f"{self.model.name}: output {name}"
            raise EndpointBadAnswer(problem(what, f"shape {wanted}", got, "Check the card, or export it again"))
        return np.asarray(values, np.float32)


def model_input(image: Pixels, spec: Preprocess) -> NDArray[np.generic]:
    """Return one model input of an image that has its final size already.

    Args:
        image: (height, width, 3); uint8, or float32 in [0, 1].
        spec: the card's preprocessing; neither resized nor cropped here.

    Returns:
        What :func:`harness.images.preprocess.preprocess` makes of a uint8 image; of a float image the same without
        rounding, but for a model that takes pixels.
    """
    if image.dtype == np.uint8 or spec.dtype == "uint8":
        return preprocess(to_lattice(image), spec.ready)
    low, high = spec.range
    values = (image * np.float32(high - low) + np.float32(low) - np.asarray(spec.mean, np.float32)) / np.asarray(
        spec.std, np.float32
    )
    return np.ascontiguousarray(values.transpose(2, 0, 1) if spec.layout == "NCHW" else values, np.float32)


def to_lattice(image: Pixels) -> NDArray[np.uint8]:
    """Return the nearest image of 8 bits."""
    if image.dtype == np.uint8:
        return image
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)


def to_floats(image: Pixels) -> Floats:
    """Return an image as float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)


def _scale(spec: Preprocess) -> Floats:
    """Return d input / d image by channel, float32 (3,)."""
    low, high = spec.range
    return np.asarray(np.float32(high - low) / np.asarray(spec.std, np.float32), np.float32)
