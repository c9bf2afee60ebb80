"""How an endpoint answers what it should and should not be asked: repeats, batches, NaN, faults, sizes, latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Backend
from harness.errors import EndpointError

Tensor = NDArray[Any]
Ask = Callable[[Tensor], NDArray[np.floating]]
"""Answers a batch with its scores, (batch, scores); raises EndpointError."""

REPEATS, WARM = 5, 3
"""Times that one request is repeated, and requests before latency is measured."""

EMPTY = "no images (batch 0)"
"""The one of them that may be answered: with nothing."""

ANSWERED = "answered"
"""In place of a reason: the endpoint gave an answer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far answers to the same images lie apart.

    Attributes:
        largest: difference of any score.
        flips: images that are decided otherwise.
        images: how many there were.
    """

    largest: float
    flips: int
    images: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """What came of a request that should be refused: the reason of our error class, or ``answered``."""

    asked: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Batches that were tried.

    Attributes:
        largest: most images that were answered together.
        bytes: size of that request's tensor.
        refused: the smallest batch that was not answered, and why; None where all were.
    """

    largest: int
    bytes: int
    refused: tuple[int, str] | None


def differ(a: NDArray[np.floating], b: NDArray[np.floating]) -> Difference:
    """Return how far two answers (n, scores) to the same images lie apart; one score decides by its middle, 0."""
    decided = [values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0] > 0 for values in (a, b)]
    largest = float(np.abs(a.astype(np.float64) - b).max(initial=0.0))
    return Difference(largest, int(np.count_nonzero(decided[0] != decided[1])), len(a))


def repeats(ask: Ask, batch: Tensor) -> Difference:
    """Ask the same five times; return the answer farthest from the first."""
    first = ask(batch)
    return max((differ(first, ask(batch)) for _ in range(REPEATS - 1)), key=lambda found: found.largest)


def batches(ask: Ask, batch: Tensor) -> Difference:
    """Ask images together, then one at a time."""
    return differ(np.concatenate([ask(row[None]) for row in batch]), ask(batch))


def not_a_number(ask: Ask, batch: Tensor) -> str:
    """Return what comes of an input whose first image is all NaN, in words.

    Args:
        ask: the endpoint.
        batch: float images, at least one.
    """
    broken = batch.copy()
    broken[0] = np.nan
    try:
        clean, answer = ask(batch), ask(broken)
    except EndpointError as error:
        return error.reason
    said = "answered as NaN" if np.isnan(answer[0]).all() else "answered with numbers"
    if len(batch) > 1 and not np.allclose(clean[1:], answer[1:], equal_nan=True):
        said += ", and the other images of its batch change"
    return said


def reactions(backend: Backend, name: str, batch: Tensor) -> list[Reaction]:
    """Ask what should be refused.

    Args:
        backend: the endpoint, without retries.
        name: of its input.
        batch: one good image, (1, ...).
    """
    other = np.int64 if batch.dtype != np.int64 else np.float32
    wrong: dict[str, Mapping[str, Tensor]] = {
        "another shape (a dimension more)": {name: batch[..., None]},
        "another shape (5 channels and rows)": {name: np.zeros((1, 5, 5, 5), batch.dtype)},
        f"another type ({np.dtype(other).name})": {name: batch.astype(other)},
        "another input name": {f"not_{name}": batch},
        EMPTY: {name: batch[:0]},
    }
    return [react(asked, partial(backend.infer, inputs)) for asked, inputs in wrong.items()]


def react(asked: str, request: Callable[[], object]) -> Reaction:
    """Make one request that should be refused."""
    try:
        request()
    except EndpointError as error:
        return Reaction(asked, error.reason, " ".join(str(error).partition(", got ")[2].split()))
    return Reaction(asked, ANSWERED, "")


def sizes(ask: Ask, image: Tensor, most: int, told: int | None) -> Sizes:
    """Ask ever larger batches, up to ``most``; the told limit and one more are among them.

    Args:
        ask: the endpoint.
        image: one image, (1, ...).
        most: bound of what is tried.
        told: what the server's configuration says, if anything.
    """
    tried = {1 << power for power in range(most.bit_length())} | ({told, told + 1} if told else set())
    largest, refused = 0, None
    for count in sorted(size for size in tried if size <= most):
        try:
            ask(np.repeat(image, count, axis=0))
        except EndpointError as error:
            refused = (count, error.reason)
            break
        largest = count
    return Sizes(largest, largest * image.nbytes, refused)


def latencies(ask: Ask, image: Tensor, count: int, clock: Callable[[], float]) -> NDArray[np.float64]:
    """Return seconds of those of ``count`` requests that were answered, of one image, one after the other.

    Some to warm up come before them.
    """
    seconds = []
    for turn in range(WARM + count):
        started = clock()
        try:
            ask(image)
        except EndpointError:
            continue
        if turn >= WARM:
            seconds.append(clock() - started)
    return np.array(seconds, np.float64)
