"""Runs many searches at once: batches what they ask, drops those that end, counts and bounds what each spends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from harness.errors import NOT_FINITE, EndpointError, EndpointRefused, EndpointTimeout, EndpointUnavailable, problem
from harness.search.margins import margin
from harness.search.oracle import Oracle
from harness.search.requests import Answers, Ask, Differentiate, Floats, Keep, Pixels, Slope, Steps


@dataclass(frozen=True)
class Spent:
    """What a search has asked for: forward queries to either model, gradients, and its share of the time in seconds."""

    white: int = 0
    black: int = 0
    gradients: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Pair:
    """Two models that are to disagree.

    Attributes:
        white: its gradient may be asked for.
        black: gives answers alone.
        gradient: where gradients come from: of the white model, or of one that stands in for it; None without any.
        lent: whether it is of one that stands in.
    """

    white: Oracle
    black: Oracle
    gradient: Oracle | None = None
    lent: bool = False

    def slopes(self, requests: Sequence[Differentiate]) -> list[Slope]:
        """Return the gradients asked for, with the white model's own logits where they are wanted.

        Raises:
            EndpointError: no usable answer, or no gradient in this pair.
        """
        if self.gradient is None and requests:
            raise EndpointRefused(problem("gradient", "an endpoint that gives one", "none", "Name it in the pair"))
        found = self.gradient.slopes(requests) if self.gradient else []
        wanted = [place for place, request in enumerate(requests) if self.costs(request).white]
        logits = self.white.logits([requests[place].image for place in wanted])
        for place, said in zip(wanted, logits, strict=True):
            found[place] = Slope(said, _loss(requests[place], said), found[place].gradient)
        return found

    def costs(self, request: Ask | Differentiate) -> Spent:
        """Return what a request takes, time apart."""
        if isinstance(request, Ask):
            count = len(request.images)
            return Spent(white=count * request.white, black=count * request.black)
        return Spent(white=int(self.lent and request.logits), gradients=1)


@dataclass(frozen=True)
class Seed:
    """An image that both models decide alike.

    Attributes:
        position: its place in its cell.
        path: its address in the data set.
        pixels: uint8 (height, width, 3), as the models take it.
        white, black: both models' logits, float32 (classes,).
    """

    position: int
    path: str
    pixels: NDArray[np.uint8]
    white: Floats
    black: Floats

    @property
    def label(self) -> int:
        """The class that both say."""
        return int(self.white.argmax())


@dataclass(frozen=True)
class Hunted:
    """The end of one search.

    Attributes:
        seed: where it began.
        kept: the image it ended with; None where it found none.
        spent: in all.
        first: spent when the first image was kept.
        failure: a stable reason and its message, where it could not go on.
    """

    seed: Seed
    kept: Pixels | None
    spent: Spent
    first: Spent | None
    failure: tuple[str, str] | None = None


class _Hunt:
    """One search under way."""

    def __init__(self, seed: Seed, steps: Steps[None], pair: Pair, queries: int, gradients: int) -> None:
        self.seed, self.steps, self.pair = seed, steps, pair
        self.queries, self.gradients = queries, gradients
        self.request: Ask | Differentiate | None = None
        self.spent = Spent()
        self.kept: Pixels | None = None
        self.first: Spent | None = None
        self.failure: tuple[str, str] | None = None

    def go_on(self, said: Answers | Slope | None) -> None:
        """Send what was answered, up to the next request; stop where that may not be spent, or at the end."""
        started = time.perf_counter()
        try:
            request = self.steps.send(said)
            while isinstance(request, Keep):
                self.kept = request.image.copy()
                self.first = self.first or self.spent
                request = self.steps.send(None)
            self.request = request
        except StopIteration:
            self.request = None
        self.spent += Spent(seconds=time.perf_counter() - started)
        after = self.spent + self._cost
        if max(after.white, after.black) > self.queries or after.gradients > self.gradients:
            self.stop()

    def answer(self, said: Answers | Slope, seconds: float) -> None:
        """Count what was asked, and go on; an answer that is not finite ends it."""
        self.spent += self._cost + Spent(seconds=seconds)
        values = (said.white, said.black) if isinstance(said, Answers) else (said.logits, said.gradient)
        if all(np.isfinite(item).all() for item in values):
            self.go_on(said)
        else:
            self.stop((NOT_FINITE, f"after {self.spent.white + self.spent.black} queries"))

    def stop(self, failure: tuple[str, str] | None = None) -> None:
        """End it here."""
        self.steps.close()
        self.request, self.failure = None, failure

    @property
    def _cost(self) -> Spent:
        return self.pair.costs(self.request) if self.request else Spent()

    @property
    def end(self) -> Hunted:
        """What came of it."""
        return Hunted(self.seed, self.kept, self.spent, self.first, self.failure)


def _loss(request: Differentiate, logits: Floats) -> float:
    """Return the loss that a request names, by given logits."""
    if request.loss == "margin":
        return margin(logits, int(request.target.argmax()))
    theirs, ours = (log_softmax(item.astype(np.float64) / request.temperature) for item in (request.target, logits))
    return float(np.exp(theirs) @ (theirs - ours))


def hunt(
    seeds: Iterable[Seed],
    begin: Callable[[Seed], Steps[None]],
    pair: Pair,
    queries: int,
    gradients: int,
    width: int,
) -> Iterator[Hunted]:
    """Search from every seed, ``width`` of them at a time.

    A search that asks for more than it may ends with what it has kept. Requests of one round are answered together;
    which searches share a batch depends on when they end.

    Args:
        seeds: taken as searches end.
        begin: starts one.
        pair: whom to ask.
        queries: most forward queries to either model, for one seed.
        gradients: most gradients for one seed.
        width: searches under way at once.

    Yields:
        Every seed's end, as they come. Where an endpoint is gone, or the user interrupts, first the searches under
        way, failed but with what they have kept.

    Raises:
        EndpointUnavailable, EndpointTimeout: an endpoint is gone.
    """
    waiting = iter(seeds)
    active: list[_Hunt] = []
    local = all(item.model.local for item in (pair.white, pair.black, pair.gradient) if item)
    with ThreadPoolExecutor(1 if local else 3, thread_name_prefix="search") as pool:
        while True:
            fresh = [
                _Hunt(seed, begin(seed), pair, queries, gradients) for seed in islice(waiting, width - len(active))
            ]
            for item in fresh:
                item.go_on(None)
            active += fresh
            if not active:
                return
            yield from (item.end for item in active if item.request is None)
            active = [item for item in active if item.request is not None]
            try:
                _round(active, pair, pool)
            except (EndpointUnavailable, EndpointTimeout, KeyboardInterrupt) as error:
                reason = error.reason if isinstance(error, EndpointError) else "interrupted"
                for item in active:
                    item.stop((f"endpoint:{reason}", str(error)))
                    yield item.end
                raise


def _round(active: Sequence[_Hunt], pair: Pair, pool: ThreadPoolExecutor) -> None:
    """Have every search's request answered, each model's together; a search whose request is refused ends."""
    asks = [(item, item.request) for item in active if isinstance(item.request, Ask)]
    slopes = [(item, item.request) for item in active if isinstance(item.request, Differentiate)]
    white = pool.submit(_timed, pair.white.logits, [image for _, ask in asks if ask.white for image in ask.images])
    black = pool.submit(_timed, pair.black.logits, [image for _, ask in asks if ask.black for image in ask.images])
    gradients = pool.submit(_timed, pair.slopes, [request for _, request in slopes])
    answers = {"white": white.result(), "black": black.result()}
    taken = {"white": 0, "black": 0}
    for item, ask in asks:
        parts, seconds, failure = {}, 0.0, None
        for role, wanted in (("white", ask.white), ("black", ask.black)):
            said, pace = answers[role]
            count = len(ask.images) * wanted
            if isinstance(said, EndpointError):
                failure = said if wanted else failure
                parts[role] = np.zeros((0, 0), np.float32)
            else:
                parts[role] = said[taken[role] : taken[role] + count]
            taken[role] += count
            seconds += pace * count
        if failure is None:
            item.answer(Answers(**parts), seconds)
        else:
            item.stop((f"endpoint:{failure.reason}", str(failure)))
    found, pace = gradients.result()
    for place, (item, _) in enumerate(slopes):
        if isinstance(found, EndpointError):
            item.stop((f"endpoint:{found.reason}", str(found)))
        else:
            item.answer(found[place], pace)


R = TypeVar("R")
Q = TypeVar("Q")


def _timed(call: Callable[[Sequence[Q]], R], items: Sequence[Q]) -> tuple[R | EndpointError, float]:
    """Return what a call says of some items, or why it refused them, and its seconds an item."""
    started = time.perf_counter()
    said: R | EndpointError
    try:
        said = call(items)
    except (EndpointUnavailable, EndpointTimeout):
        raise
    except EndpointError as error:
        said = error
    return said, (time.perf_counter() - started) / max(len(items), 1)
