"""Answers cells: decode once, degrade, preprocess, infer in fixed chunks, record. Computes no figure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED as FIRST
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.sample import Dataset, Sample
from harness.errors import (
    NOT_FINITE,
    EndpointBadAnswer,
    EndpointDenied,
    EndpointError,
    EndpointInsecure,
    EndpointTimeout,
    EndpointUnavailable,
    ImageError,
    problem,
)
from harness.events import Events
from harness.images import decode
from harness.images.degrade import degrade
from harness.images.preprocess import Preprocess, preprocess
from harness.models import Model
from harness.plan import Cell
from harness.store.cells import CellStore
from harness.store.records import Record

FLUSH_S = 5.0
"""Answers are on disk at most so many seconds after they came."""

GIVE_UP = 3
"""Chunks in a row that may find an endpoint away, each after all its retries."""

AWAY = frozenset(
    f"endpoint:{kind.reason}" for kind in (EndpointUnavailable, EndpointTimeout, EndpointDenied, EndpointInsecure)
)
"""Failures that say something of an endpoint, not of what it was asked."""

Prepared = dict[tuple[str, Preprocess], "NDArray[Any] | ImageError"]


@dataclass
class _Work:
    """A cell being answered: what is still open, the chunk being filled, the records not yet on disk."""

    cell: Cell
    model: Model
    preprocess: Preprocess
    open: NDArray[np.bool_]
    chunk: list[tuple[int, Sample, NDArray[Any] | ImageError]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def answer(
    cells: Sequence[Cell],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    store: CellStore,
    seed: int,
    events: Events,
    decoders: int = 2,
    clock: Callable[[], float] = time.monotonic,
    span: range | None = None,
    flush_s: float = FLUSH_S,
) -> None:
    """Answer every open position of the cells; records are on disk when this returns or raises.

    Images of one subset are decoded once for all its cells. A cell's images are answered in chunks of
    ``cell.batch`` at fixed positions, so that what was answered before never changes a batch.

    Args:
        cells: what is asked.
        models, datasets: by name.
        store: where records go.
        seed: the suite's; a degradation draws from it and the image's path.
        events: receives progress.
        decoders: threads that decode.
        clock: seconds.
        span: the only positions that are asked; whole chunks of every cell.
        flush_s: answers are on disk at most so many seconds after they came.

    Raises:
        EndpointUnavailable: an endpoint stayed away for :data:`GIVE_UP` chunks in a row.
        StoreError: the disk refuses.
    """
    total = sum(_within(cell, span) for cell in cells)
    events.begin("answering", total, "answers")
    done = 0
    cells_done = 0
    try:
        for group, works, cached in _groups(cells, models, datasets, store, span):
            done += cached
            cells_done += sum(not work.open.any() for work in works)
            events.advance(done, total, f"{cells_done}/{len(cells)} cells")
            todo = [work for work in works if work.open.any()]
            if not todo:
                continue
            lane = _Lane(todo, store, clock, flush_s)
            with lane:
                for answered in lane.run(datasets[group.data], group, seed, decoders):
                    done += answered
                    events.advance(done, total, f"{cells_done}/{len(cells)} cells")
            cells_done += len(todo)
            events.advance(done, total, f"{cells_done}/{len(cells)} cells")
    finally:
        events.end()


def _within(cell: Cell, span: range | None) -> int:
    """Return how many images of a cell lie in a span."""
    return cell.images if span is None else len(range(span.start, min(span.stop, cell.images)))


def images_of(cell: Cell) -> tuple[Any, ...]:
    """Return what tells the cell's images from those of cells over others."""
    return (cell.data, cell.split, cell.subset, cell.sample.per_subset or 0, cell.sample.seed)


def _groups(
    cells: Sequence[Cell],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    store: CellStore,
    span: range | None,
) -> Iterator[tuple[Cell, list[_Work], int]]:
    """Yield cells over the same images together, with how many of their answers are on disk already."""
    unique = {cell.key: cell for cell in cells}
    duplicates = sum(_within(cell, span) for cell in cells) - sum(_within(cell, span) for cell in unique.values())
    for _, members in groupby(sorted(unique.values(), key=images_of), key=images_of):
        works, cached = [], duplicates
        duplicates = 0
        for cell in members:
            open_positions = open_chunks(store.answered(cell.key, span), cell.images, cell.batch)
            if span is not None:
                open_positions[: span.start] = open_positions[span.stop :] = False
            cached += _within(cell, span) - int(open_positions.sum())
            spec = models[cell.model].card.preprocess
            spec = spec.ready if datasets[cell.data].ready else spec
            works.append(_Work(cell, models[cell.model], spec, open_positions))
        yield works[0].cell, works, cached


def open_chunks(answered: NDArray[np.int64], images: int, batch: int) -> NDArray[np.bool_]:
    """Return which positions must be asked: whole chunks that miss any answer.

    Args:
        answered: positions with a final record.
        images: images of the cell.
        batch: chunk size.

    Returns:
        bool (images,).
    """
    missing = np.ones(images, bool)
    missing[answered[(answered >= 0) & (answered < images)]] = False
    chunk = np.arange(images) // batch
    again = np.zeros(chunk[-1] + 1 if images else 0, bool)
    again[chunk[missing]] = True
    return again[chunk] if images else missing


class _Lane:
    """One pass over the images of a group of cells."""

    def __init__(self, works: Sequence[_Work], store: CellStore, clock: Callable[[], float], flush_s: float) -> None:
        self.works = works
        self.store = store
        self.clock = clock
        self.flush_s = flush_s
        self.flushed = clock()
        self.pending: dict[Future[list[Record]], _Work] = {}
        self.away: dict[str, int] = {}
        self.stack = ExitStack()
        self.pools: dict[str, ThreadPoolExecutor] = {}

    def __enter__(self) -> _Lane:
        for work in self.works:
            name = "" if work.model.local else work.model.name
            if name not in self.pools:
                width = 1 if work.model.local else work.model.backend.options.concurrency
                pool = ThreadPoolExecutor(width, thread_name_prefix="infer")
                self.pools[name] = self.stack.enter_context(pool)
        self.most = 2 * sum(pool._max_workers for pool in self.pools.values())
        return self

    def __exit__(self, *_: object) -> None:
        for future in self.pending:
            future.cancel()
        self.stack.close()
        for future, work in self.pending.items():
            if not future.cancelled() and future.exception() is None:
                work.records.extend(future.result())
        self._flush()

    def run(self, data: Dataset, group: Cell, seed: int, decoders: int) -> Iterator[int]:
        """Yield numbers of answers as they come."""
        samples = data.samples(group.subset, group.split, group.sample.per_subset, group.sample.seed)
        window = 2 * max(work.cell.batch for work in self.works)
        ahead: deque[tuple[int, Sample, list[_Work], Future[Prepared]]] = deque()
        pool = self.stack.enter_context(ThreadPoolExecutor(decoders, thread_name_prefix="decode"))
        last = max(int(np.flatnonzero(work.open)[-1]) for work in self.works)
        for position, sample in enumerate(islice(samples, last + 1)):
            wanting = [work for work in self.works if work.open[position]]
            if not wanting:
                continue
            asked = {(work.cell.degradation, work.preprocess) for work in wanting}
            ahead.append((position, sample, wanting, pool.submit(prepare, data, sample, sorted(asked, key=str), seed)))
            if len(ahead) >= window:
                yield from self._take(*ahead.popleft())
        while ahead:
            yield from self._take(*ahead.popleft())
        for work in self.works:
            self._submit(work)
        while self.pending:
            yield from self._collect(block=True)

    def _take(self, position: int, sample: Sample, works: list[_Work], future: Future[Prepared]) -> Iterator[int]:
        prepared = future.result()
        for work in works:
            work.chunk.append((position, sample, prepared[(work.cell.degradation, work.preprocess)]))
            if (position + 1) % work.cell.batch == 0:
                self._submit(work)
                while len(self.pending) >= self.most:
                    yield from self._collect(block=True)
        yield from self._collect(block=False)

    def _submit(self, work: _Work) -> None:
        chunk, work.chunk = work.chunk, []
        if chunk:
            pool = self.pools["" if work.model.local else work.model.name]
            self.pending[pool.submit(ask, work.model, chunk)] = work

    def _collect(self, block: bool) -> Iterator[int]:
        ready, _ = wait(self.pending, timeout=None if block else 0, return_when=FIRST)
        for future in ready:
            work = self.pending.pop(future)
            records = future.result()
            work.records.extend(records)
            self._watch(work, records)
            yield len(records)
        if self.clock() - self.flushed > self.flush_s:
            self._flush()

    def _watch(self, work: _Work, records: Sequence[Record]) -> None:
        """Give up on an endpoint that stays away; what was answered is kept."""
        name = work.model.name
        if all(record.error in AWAY for record in records):
            self.away[name] = self.away.get(name, 0) + 1
            if self.away[name] >= GIVE_UP:
                raise EndpointUnavailable(
                    problem(
                        f"{name} at {work.model.backend.endpoint}",
                        "an answer",
                        f"none for {GIVE_UP} requests in a row ({str(records[0].detail).rstrip('.')})",
                        "What was answered is kept: run the same command again to go on",
                    )
                )
        else:
            self.away[name] = 0

    def _flush(self) -> None:
        for work in self.works:
            records, work.records = work.records, []
            self.store.append(work.cell.key, sorted(records, key=lambda record: record.position))
        self.flushed = self.clock()


def prepare(data: Dataset, sample: Sample, asked: Sequence[tuple[str, Preprocess]], seed: int) -> Prepared:
    """Decode one image once and make every model input that is asked of it.

    Args:
        data: the data set that holds it.
        sample: the image.
        asked: (degradation id, preprocessing) pairs, those of one degradation together.
        seed: the suite's; a degradation draws from it and the image's path.

    Returns:
        One input per pair, or the ImageError that stands in its way.
    """
    try:
        image = decode(data.read(sample))
    except ImageError as error:
        return dict.fromkeys(asked, error)
    made: Prepared = {}
    for degradation, pairs in groupby(asked, key=lambda pair: pair[0]):
        try:
            degraded = degrade(image, degradation, seed, sample.path)
        except ImageError as error:
            made.update(dict.fromkeys(pairs, error))
            continue
        for pair in pairs:
            try:
                made[pair] = preprocess(degraded, pair[1])
            except ImageError as error:
                made[pair] = error
    return made


def ask(model: Model, chunk: Sequence[tuple[int, Sample, NDArray[Any] | ImageError]]) -> list[Record]:
    """Answer one chunk in one request; an image or a request that fails becomes failed records."""
    good = [index for index, (_, _, value) in enumerate(chunk) if not isinstance(value, ImageError)]
    scores: NDArray[Any] = np.zeros((0, 0))
    failure: EndpointError | None = None
    if good:
        try:
            scores = _scores(model, np.stack([np.asarray(chunk[index][2]) for index in good]))
        except EndpointError as error:
            failure = error
    rows = {index: row for row, index in enumerate(good)}
    records = []
    for index, (position, sample, value) in enumerate(chunk):
        answer, reason, detail = None, None, None
        if isinstance(value, ImageError):
            reason, detail = f"image:{value.reason}", str(value)
        elif failure is not None:
            reason, detail = f"endpoint:{failure.reason}", str(failure)
        elif not np.isfinite(scores[rows[index]]).all():
            got = scores[rows[index]].tolist()[:8]
            reason, detail = NOT_FINITE, f"{model.name} at {model.backend.endpoint} answered {got}"
        else:
            answer = scores[rows[index]]
        said = (sample.path, sample.source, sample.label, answer, reason, detail, sample.target)
        records.append(Record(position, *said))
    return records


def _scores(model: Model, batch: NDArray[Any]) -> NDArray[Any]:
    """Return (batch, heads) float32 of one request."""
    return read_scores(model, model.backend.infer({model.card.input: batch}), len(batch))


def read_scores(model: Model, outputs: Mapping[str, NDArray[Any]], images: int) -> NDArray[Any]:
    """Return a model's scores of so many images, float32 (images, heads), from its outputs.

    Raises:
        EndpointBadAnswer: an output that is missing, or of another shape, or whose values are no numbers.
    """
    scores = outputs.get(model.card.output)
    wanted = (images, model.card.outputs)
    if scores is not None and scores.ndim == 1 and wanted[1] == 1:
        scores = scores[:, None]
    if scores is None or scores.shape != wanted or scores.dtype.kind not in "fiu":
        got = "none" if scores is None else f"{scores.dtype.name} {scores.shape}"
        raise EndpointBadAnswer(
            problem(
                f"{model.name} at {model.backend.endpoint}: output {model.card.output}",
                f"numbers of shape {wanted}",
                got,
                "Check the card's output and heads",
            )
        )
    return scores.astype(np.float32, copy=False)
