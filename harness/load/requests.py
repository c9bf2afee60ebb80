"""What one request was, and what sends requests; knows no protocol and no figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import EndpointError

Outputs = Mapping[str, NDArray[Any]]
"""Every output of an answer, by name."""

Answer = Outputs | EndpointError
"""What came of a request."""

Clock = Callable[[], float]
"""Seconds, monotonic."""

PAUSE_S = 0.02
"""Wait of whoever got no answer, before the next request: an endpoint that refuses at once is not asked in a flood."""


@dataclass(slots=True)
class Request:
    """One request.

    Attributes:
        images: which of the load's images it holds.
        scheduled: when it was wanted.
        sent: when it was handed to the transport; nan before.
        answered: when what came of it was there; nan before.
        answer: what came of it; None before.
    """

    images: Sequence[int]
    scheduled: float
    sent: float = math.nan
    answered: float = math.nan
    answer: Answer | None = None

    def close(self, answer: Answer, now: float) -> None:
        """Keep what came of it; the first to come counts."""
        if self.answer is None:
            self.answered = now
            self.answer = answer


class Client(Protocol):
    """A model as loads ask it: every request is tried once."""

    def ask(self, images: Sequence[int]) -> Outputs:
        """Answer one request; raises EndpointError."""
        ...

    def begin(self, request: Request) -> Callable[[], object]:
        """Send a request and return at once what cancels it; the request is closed in another thread."""
        ...


class Batches:
    """A load's images as requests hold them; every batch is laid out in memory before the load.

    Args:
        images: model inputs of one shape.
        size: images a request.
    """

    def __init__(self, images: Sequence[NDArray[Any]], size: int) -> None:
        self.count, self.size = len(images), size
        self._images = images
        self._turns = [
            tuple((number * size + place) % self.count for place in range(size)) for number in range(self.count)
        ]
        self._laid = {indices: self._stack(indices) for indices in self._turns}

    def turn(self, number: int) -> tuple[int, ...]:
        """Return the images of a request: the next ones, in a circle."""
        return self._turns[number % self.count]

    def tensor(self, images: Sequence[int]) -> NDArray[Any]:
        """Return the model's input of some images, (n, ...)."""
        indices = tuple(images)
        laid = self._laid.get(indices)
        return self._stack(indices) if laid is None else laid

    def _stack(self, indices: Sequence[int]) -> NDArray[Any]:
        return np.ascontiguousarray(np.stack([self._images[index] for index in indices]))
