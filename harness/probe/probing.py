"""One probe, start to end: metadata, candidates, scores, behaviour; what a card says is checked. Judges no quality."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends import Backend, EndpointOptions, ModelInfo, open_backend
from harness.backends.opening import LOCAL
from harness.errors import CardError, EndpointBadAnswer, EndpointError, problem
from harness.events import Events
from harness.images.preprocess import Image, Preprocess, preprocess
from harness.probe import behaviour
from harness.probe.behaviour import Difference, Reaction, Sizes
from harness.probe.images import photographs, views
from harness.probe.learned import Learned
from harness.probe.metadata import Layout, image_input, score_output
from harness.probe.preprocessing import SIDES, Answers, candidates, conclude_preprocessing
from harness.probe.scores import score_space

TOGETHER = 8
"""Images of a request, where the endpoint takes so many."""


@dataclass(frozen=True)
class Asked:
    """What is probed, and how far.

    Attributes:
        endpoint: its address.
        options: how it is used; failures are not tried again, whatever they say.
        most: largest batch that is tried.
        requests: timed requests.
    """

    endpoint: str
    options: EndpointOptions
    most: int = 64
    requests: int = 30


@dataclass(frozen=True)
class Probed:
    """What was learned.

    Attributes:
        asked: what was probed.
        info: what the endpoint says of itself.
        input, output: names of the tensors of images and scores.
        preprocess: what its input is made by.
        scores: how many an image has.
        space: ``logit``, ``probability`` or, as a card may say, ``statistic``.
        findings: layout, size, values and score space, with how sure each is.
        contradictions: where a card says other than the endpoint does.
        repeats, batches: how far answers lie apart when asked again, and one by one; None where it can't be asked so.
        not_a_number: what an input of NaN does; None where the input can't hold one.
        reactions: what came of requests that should be refused.
        sizes: batches that it takes.
        alive: whether it still answered as before after both.
        seconds: latency of single images that were answered, of at most as many as were asked, (n,).
    """

    asked: Asked
    info: ModelInfo
    input: str
    output: str
    preprocess: Preprocess
    scores: int
    space: str
    findings: dict[str, Learned]
    contradictions: tuple[str, ...]
    repeats: Difference
    batches: Difference | None
    not_a_number: str | None
    reactions: tuple[Reaction, ...]
    sizes: Sizes
    alive: bool
    seconds: NDArray[np.float64]


def probe(asked: Asked, events: Events, clock: Callable[[], float] = time.perf_counter) -> Probed:
    """Learn an endpoint.

    Raises:
        CardError: it takes no images, or its metadata say too little to ask it anything.
        EndpointError: it does not answer any candidate.
    """
    with closing(open_backend(asked.endpoint, asked.options.model_copy(update={"retries": 0}))) as backend:
        return _Probe(asked, backend, events, clock).run()


class _Probe:
    """One probe in progress."""

    def __init__(self, asked: Asked, backend: Backend, events: Events, clock: Callable[[], float]) -> None:
        self.asked, self.backend, self.events, self.clock = asked, backend, events, clock
        self.info = backend.info()
        self.card = self.info.card
        if self.card is not None and self.card.represent:
            got, do = self.card.represent, "Run a suite that makes them for it, as suites/attribution.yaml does"
            raise CardError(problem(asked.endpoint, "a model of images", got, do))
        self.taken = image_input(self.info, asked.endpoint)
        self.output = score_output(self.info.outputs, self.card.output if self.card else None, asked.endpoint)
        limits = [TOGETHER, self.taken.batch, self.info.max_batch]
        self.together = min(limit for limit in limits if limit)

    def ask(self, batch: NDArray[Any]) -> NDArray[np.floating]:
        """Return the scores of a batch, (batch, scores)."""
        answered = self.backend.infer({self.taken.name: batch}).get(self.output)
        if answered is None or len(answered) != len(batch) or answered.ndim > 2:
            got = "none" if answered is None else str(answered.shape)
            what = f"{self.asked.endpoint}: output {self.output}"
            raise EndpointBadAnswer(problem(what, f"({len(batch)}, scores)", got, "Probe a model that scores images"))
        return np.asarray(answered).reshape(len(batch), -1)

    def run(self) -> Probed:
        """Learn everything, in the order in which one thing needs another."""
        said, findings, answers = self._preprocess()
        shown = photographs(said.crop or SIDES[0])[: self.together]
        batch = np.stack([preprocess(image, said) for image in shown])
        single = batch if self.taken.batch else batch[:1]
        space = self._space(answers[0], batch)
        self.events.begin("asking again, in batches, and what should be refused", 0, "requests")
        repeated = behaviour.repeats(self.ask, batch)
        free = self.taken.batch is None
        batches = behaviour.batches(self.ask, batch) if free and len(batch) > 1 else None
        nan = behaviour.not_a_number(self.ask, batch) if batch.dtype == np.float32 else None
        before = self.ask(single)
        seconds = behaviour.latencies(self.ask, single, self.asked.requests, self.clock)
        reactions = [*behaviour.reactions(self.backend, self.taken.name, single), *self._unknown_model()]
        sizes = (
            behaviour.sizes(self.ask, single, self.asked.most, self.info.max_batch)
            if free
            else Sizes(len(batch), batch.nbytes, None)
        )
        alive = self._alive(single, before)
        self.events.end()
        return Probed(
            asked=self.asked,
            info=self.info,
            input=self.taken.name,
            output=self.output,
            preprocess=said,
            scores=answers.shape[-1],
            space=self.card.score if self.card else space.value,
            findings={**findings, "scores": self._told(self.card.score, space) if self.card else space},
            contradictions=tuple(self._contradictions(answers, space)),
            repeats=repeated,
            batches=batches,
            not_a_number=nan,
            reactions=tuple(reactions),
            sizes=sizes,
            alive=alive,
            seconds=seconds,
        )

    def _preprocess(self) -> tuple[Preprocess, dict[str, Learned], Answers]:
        """Return what the input is made by, how sure that is, and answers to every view of the photographs."""
        if self.card is not None:
            said = self.card.preprocess
            word = Learned("", "certain", "its card says so, and requests made so are answered")
            shown = {
                "layout": said.layout,
                "size": f"{said.crop or said.resize or 'any'}",
                "values": "pixels" if said.dtype == "uint8" else f"{said.range}, mean {said.mean}, std {said.std}",
            }
            found = {key: Learned(value, word.confidence, word.evidence) for key, value in shown.items()}
            return said, found, self._viewed([said], said.crop or SIDES[0])[0]
        layouts, size = self._size()
        side = int(size.value)
        tried = candidates(self.taken, layouts, side)
        answers = {
            key: found
            for key, found in zip(tried, self._viewed(list(tried.values()), side), strict=True)
            if found is not None
        }
        chosen, layout, values = conclude_preprocessing(answers, tried)
        if len(self.taken.sides) == 1:
            layout = Learned(layout.value, "certain", "the shape in its metadata")
        if self.taken.dtype == "uint8":
            values = Learned("pixels", "certain", "its metadata say UINT8")
        found = {"layout": layout, "size": size, "values": values}
        return chosen, found, answers[layout.value, values.value]  # type: ignore[index]

    def _size(self) -> tuple[list[Layout], Learned]:
        """Return the layouts that are taken, and the side."""
        fixed = {layout: side for layout, side in self.taken.sides.items() if side is not None}
        if len(fixed) == len(self.taken.sides) and len(set(fixed.values())) == 1:
            side = next(iter(fixed.values()))
            return list(fixed), Learned(str(side), "certain", "the shape in its metadata")
        answered: dict[Layout, list[int]] = {}
        failure: EndpointError | None = None
        for layout, told in self.taken.sides.items():
            for side in [told] if told else SIDES:
                image = np.zeros((self.taken.batch or 1, side, side, 3), self.taken.dtype)
                try:
                    self.ask(np.moveaxis(image, -1, 1) if layout == "NCHW" else image)
                except EndpointError as error:
                    failure = error
                    continue
                answered.setdefault(layout, []).append(side)
        if not answered:
            assert failure is not None
            raise failure
        sides = [side for side in SIDES if any(side in found for found in answered.values())] or [
            next(iter(answered.values()))[0]
        ]
        kept: list[Layout] = [layout for layout, found in answered.items() if sides[0] in found]
        if len(sides) == 1:
            return kept, Learned(str(sides[0]), "high", f"the only side taken of {', '.join(map(str, SIDES))}")
        return kept, Learned(str(sides[0]), "unknown", f"free; taken: {', '.join(map(str, sides))}")

    def _viewed(self, tried: Sequence[Preprocess], side: int) -> list[Any]:
        """Return (views, images, scores) for each candidate; None for one that the endpoint refuses.

        Raises:
            EndpointError: it refuses all of them.
        """
        seen = [views(image) for image in photographs(side)]
        self.events.begin("showing photographs", len(tried), "candidates")
        found: list[Answers | None] = []
        failure: EndpointError | None = None
        for done, spec in enumerate(tried):
            self.events.advance(done, len(tried))
            try:
                found.append(np.stack([self._batched([image[view] for image in seen], spec) for view in range(4)]))
            except EndpointError as error:
                if error.retryable:
                    raise
                found.append(None)
                failure = error
        self.events.end()
        if failure is not None and not any(item is not None for item in found):
            raise failure
        return found

    def _batched(self, images: Sequence[Image], spec: Preprocess) -> NDArray[np.floating]:
        made = np.stack([preprocess(image, spec) for image in images])
        size = self.taken.batch or self.together
        whole = np.concatenate([made, np.repeat(made[-1:], -len(made) % size if self.taken.batch else 0, axis=0)])
        scores = np.concatenate([self.ask(whole[start : start + size]) for start in range(0, len(whole), size)])
        return scores[: len(made)]

    def _space(self, ordinary: NDArray[np.floating], batch: NDArray[Any]) -> Learned:
        """Return what the scores are, from photographs and from inputs far from any."""
        if batch.dtype == np.uint8:
            far = np.zeros_like(batch)
            far[1::2] = 255
        else:
            far = batch * np.float32(1000)
        try:
            extreme = self.ask(far)
        except EndpointError:
            extreme = ordinary[:0]
        return score_space(ordinary, extreme)

    def _told(self, said: str, seen: Learned) -> Learned:
        agree = seen.confidence != "high" or said in (seen.value, "statistic")
        word = "checked" if agree else "contradicted"
        return Learned(said, "certain" if agree else "unknown", f"its card says so; {word}: {seen.evidence}")

    def _contradictions(self, answers: Answers, space: Learned) -> list[str]:
        """Return where the card and the endpoint say different things."""
        if self.card is None:
            return []
        found = []
        said, got = self.card.preprocess, self.taken
        if self.card.input != got.name:
            found.append(f"card: input {self.card.input}, metadata: {got.name}")
        if (said.dtype, said.layout in got.sides) != (got.dtype, True):
            found.append(f"card: {said.dtype} {said.layout}, metadata: {got.dtype} {' or '.join(got.sides)}")
        elif (side := got.sides[said.layout]) and said.crop and side != said.crop:
            found.append(f"card: images of {said.crop} px, metadata: {side} px")
        if answers.shape[-1] != self.card.outputs:
            found.append(f"card: {self.card.outputs} scores, answers: {answers.shape[-1]}")
        if self._told(self.card.score, space).confidence != "certain":
            found.append(f"card: {self.card.score}, answers: {space.evidence}")
        return found

    def _unknown_model(self) -> list[Reaction]:
        scheme, _, rest = self.asked.endpoint.partition("://")
        if scheme.partition(":")[0] in LOCAL or not rest:
            return []
        address = f"{scheme}://{rest.split('/')[0]}/no_such_model"
        with closing(open_backend(address, self.backend.options)) as other:
            return [behaviour.react("another model name", other.info)]

    def _alive(self, single: NDArray[Any], before: NDArray[np.floating]) -> bool:
        try:
            return behaviour.differ(before, self.ask(single)).flips == 0
        except EndpointError:
            return False
