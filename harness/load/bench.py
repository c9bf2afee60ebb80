"""A model at rest: the images that it will be sent, its answers to them one at a time, and what an answer under load
is held against. Sends nothing under load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.sample import Dataset, Sample
from harness.engines import prepare, read_scores
from harness.errors import NOT_FINITE, DataError, EndpointError, ImageError, problem
from harness.images.degrade import CLEAN
from harness.load.requests import Clock, Request
from harness.models import Model
from harness.store.loads import WRONG


@dataclass(frozen=True)
class Bench:
    """What one model's loads share.

    Attributes:
        model: the model.
        samples: the images.
        inputs: what the model is given of each.
        scores: what it answered to each, asked alone, float (n, heads).
        seconds: median time of such an answer, the first one left out.
    """

    model: Model
    samples: tuple[Sample, ...]
    inputs: tuple[NDArray[Any], ...]
    scores: NDArray[Any]
    seconds: float

    def fault(self, request: Request, tolerance: float) -> tuple[str | None, str | None]:
        """Return why a request has no right answer, in a stable word and in full; (None, None) where it has one.

        Args:
            request: closed.
            tolerance: largest distance of a score from that at rest, in units of the image's largest one beyond 1.
        """
        images = list(request.images)
        try:
            if isinstance(request.answer, EndpointError):
                raise request.answer
            scores = read_scores(self.model, request.answer or {}, len(images))
        except EndpointError as error:
            return f"endpoint:{error.reason}", str(error)
        if not np.isfinite(scores).all():
            return NOT_FINITE, f"{self.model.name} answered {scores.ravel()[:8].tolist()}"
        known = self.scores[images]
        off = np.abs(scores - known).max(axis=1) / np.maximum(1.0, np.abs(known).max(axis=1))
        worst = int(off.argmax())
        if off[worst] <= tolerance:
            return None, None
        return WRONG, f"{self.samples[images[worst]].path} is {off[worst]:.2g} off its answer at rest"


def set_up(model: Model, data: Dataset, split: str, images: int, seed: int, clock: Clock = time.perf_counter) -> Bench:
    """Prepare a model's first images and ask it about each, alone.

    Args:
        model: the model.
        data, split: where images come from, its subsets by turns.
        images: how many.
        seed: the suite's.
        clock: seconds.

    Raises:
        DataError: no image can be used, or they have several shapes.
        EndpointError: an image that is not answered, after the endpoint's retries.
    """
    chosen = list(_usable(model, data, split, images, seed))
    shapes = {array.shape for _, array in chosen}
    if len(shapes) != 1:
        got = "none that can be read" if not chosen else f"shapes {sorted(shapes)}"
        do = "Name other data, or give the model's card a crop"
        raise DataError(problem(f"load on {model.name}", f"images of one shape in split {split}", got, do))
    scores, times = [], []
    for _, array in chosen:
        started = clock()
        outputs = model.backend.infer({model.card.input: array[None]})
        times.append(clock() - started)
        scores.append(read_scores(model, outputs, 1)[0])
    samples, inputs = zip(*chosen, strict=True)
    return Bench(model, samples, inputs, np.stack(scores), statistics.median(times[1:] or times))


def _usable(model: Model, data: Dataset, split: str, images: int, seed: int) -> Iterator[tuple[Sample, NDArray[Any]]]:
    """Yield the first images that can be prepared, one of each subset by turns."""
    spec = model.card.preprocess.ready if data.ready else model.card.preprocess
    subsets = [data.samples(info.subset, split) for info in data.subsets() if info.split == split]
    left = images
    for turn in zip_longest(*subsets):
        for sample in (item for item in turn if item is not None):
            made = prepare(data, sample, [(CLEAN, spec)], seed)[CLEAN, spec]
            if not isinstance(made, ImageError):
                yield sample, made
                left -= 1
            if not left:
                return


def pace_of(requests: Sequence[Request]) -> float:
    """Return images a second of a closed loop's answered requests; nan where there are none."""
    answered = [request for request in requests if not isinstance(request.answer, EndpointError)]
    if not answered:
        return float("nan")
    span = max(request.answered for request in answered) - min(request.sent for request in answered)
    return sum(len(request.images) for request in answered) / span
