"""The step that Carlini and Wagner's searches share: descend distance and margin in tanh space; never asks anyone."""

from __future__ import annotations

import numpy as np

from harness.search.adam import Adam
from harness.search.oracle import to_floats
from harness.search.requests import Pixels, Slope


class TanhDescent:
    """Adam on w of an image x' = (tanh(w) + 1) / 2, by ||x' - x||^2 + c max(margin, 0).

    x' so stays in [0, 1] by construction; values that are 0 or 1 in the seed x have no finite w, and never move.

    Source: Carlini and Wagner, 2017 (arXiv:1608.04644, section VI-B).

    Args:
        seed: where x' begins, (height, width, 3).
        c: weight of the margin.
        lr: of Adam.

    Attributes:
        image: x', float32 in [0, 1]; a new array at every step.
        distance: ||x' - x||^2.
    """

    def __init__(self, seed: Pixels, c: float, lr: float) -> None:
        self.seed, self.c = to_floats(seed), c
        with np.errstate(divide="ignore"):
            self._w = np.arctanh(2 * self.seed - 1)
        self._adam = Adam(self._w, lr)
        self._arrive()

    def cost(self, margin: Slope) -> float:
        """Return what is descended, given the margin at x'."""
        return self.distance + self.c * max(margin.loss, 0.0)

    def step(self, margin: Slope) -> None:
        """Descend once, given the margin at x'."""
        by_image = 2 * (self.image - self.seed)
        if margin.loss >= 0:
            by_image += np.float32(self.c) * margin.gradient
        self._adam.step(2 * by_image * self.image * (1 - self.image))
        self._arrive()

    def _arrive(self) -> None:
        self.image = np.asarray((np.tanh(self._w) + 1) / 2, np.float32)
        self.distance = float(((self.image - self.seed) ** 2).sum())
