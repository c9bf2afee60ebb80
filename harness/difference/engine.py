"""Answers difference cells: reads a pair once, degrades, registers, draws maps, holds them against what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

import numpy as np

from harness.data.spots import Pair, PairSet
from harness.difference.cells import DifferenceCell
from harness.difference.method import check_sizes, draw, postprocess_id
from harness.difference.planes import Planes, as_planes
from harness.difference.postprocess import apply
from harness.difference.regions import regions
from harness.difference.register import Registered, Registration
from harness.difference.strategies import Cam, Map
from harness.errors import EndpointError, ImageError
from harness.events import Events
from harness.images.degrade import degrade
from harness.metrics.localisation import Truth
from harness.store.cells import CellStore
from harness.store.differences import DifferenceRecord

FLUSH_S = 20.0
"""Records are on disk at most so many seconds after they were made, and one pair's time."""

WORKERS = 2
"""Pairs at once."""

Records = dict[str, list[DifferenceRecord]]
"""By cell key."""


def measure(
    cells: Sequence[DifferenceCell],
    pairs: Mapping[str, PairSet],
    cams: Mapping[str, Cam],
    store: CellStore,
    seed: int,
    events: Events,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Measure every open pair of the cells; records are on disk when this returns or raises.

    Args:
        cells: what is asked.
        pairs: by task.
        cams: gradcam models by name.
        store: where records go.
        seed: the suite's; a degradation draws from it and the pair's name.
        events: receives progress.
        clock: seconds.

    Raises:
        StoreError: the disk refuses.
    """
    if not cells:
        return
    total, done = sum(cell.records for cell in cells), 0
    events.begin("comparing", total, "maps")
    try:
        for _, members in groupby(cells, key=lambda cell: (cell.task, cell.split, cell.subset)):
            group = list(members)
            first = group[0]
            closed = {cell.key: frozenset(store.answered(cell.key).tolist()) for cell in group}
            done += sum(map(len, closed.values()))
            events.advance(done, total, f"{first.subset}, {first.split}")
            waiting: Records = {}
            flushed = clock()
            try:
                for records in _measured(group, pairs[first.task], cams, closed, seed):
                    for key, rows in records.items():
                        waiting.setdefault(key, []).extend(rows)
                        done += len(rows)
                    events.advance(done, total, f"{first.subset}, {first.split}")
                    if clock() - flushed > FLUSH_S:
                        _flush(store, waiting)
                        flushed = clock()
            finally:
                _flush(store, waiting)
    finally:
        events.end()


def _flush(store: CellStore, waiting: Records) -> None:
    while waiting:
        store.append(*waiting.popitem())


def _measured(
    group: Sequence[DifferenceCell],
    pairs: PairSet,
    cams: Mapping[str, Cam],
    closed: Mapping[str, frozenset[int]],
    seed: int,
) -> Iterator[Records]:
    """Yield the records of one pair after the other, a few pairs under way."""
    first = group[0]
    under_way: list[Future[Records]] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for position, pair in enumerate(pairs.pairs(first.subset, first.split, first.pairs)):
                todo = [cell for cell in group if not closed[cell.key].issuperset(_positions(cell, position))]
                if todo:
                    under_way.append(pool.submit(_of_pair, todo, pairs, pair, position, cams, seed))
                while len(under_way) > WORKERS:
                    yield under_way.pop(0).result()
            while under_way:
                yield under_way.pop(0).result()
        finally:
            for future in under_way:
                future.cancel()


def _positions(cell: DifferenceCell, pair: int) -> range:
    """Return the positions of a pair's records: one a method."""
    return range(pair * len(cell.methods), (pair + 1) * len(cell.methods))


def _of_pair(
    cells: Sequence[DifferenceCell], pairs: PairSet, pair: Pair, position: int, cams: Mapping[str, Cam], seed: int
) -> Records:
    """Return the records of one pair in every cell; whatever it shares between cells is made once."""
    try:
        pixels = pairs.read(pair)
        before, truth = as_planes(pixels.a), Truth(pixels.truth)
    except ImageError as error:
        return {cell.key: _failed(cell, pair, position, error) for cell in cells}
    prepared: dict[str, Planes] = {}
    records: Records = {}
    for degradation, group in groupby(cells, key=lambda cell: cell.degradation):
        members = list(group)
        try:
            after = as_planes(degrade(pixels.b, degradation, seed, pair.name))
            check_sizes(before, after)
        except ImageError as error:
            records |= {cell.key: _failed(cell, pair, position, error) for cell in members}
            continue
        laid: dict[str, Registered | ImageError] = {}
        second: dict[str, Planes] = {}
        for cell in members:
            method = cell.methods[0]
            registration, preprocess = method.registration.id, method.preprocess.id
            if registration not in laid:
                laid[registration] = _laid(before, after, method.registration)
            registered = laid[registration]
            if isinstance(registered, ImageError):  # the method's own failure, not the pair's: it marks nothing
                nothing = np.zeros(before.shape[:2], np.float32)
                records[cell.key] = _figures(cell, pair, position, nothing, truth, None, str(registered))
                continue
            if preprocess not in prepared:
                prepared[preprocess] = method.preprocess(before)
            if (both := f"{registration} | {preprocess}") not in second:
                second[both] = method.preprocess(registered.planes)
            started = time.perf_counter()
            try:
                values = draw(prepared[preprocess], second[both], registered, method.strategy, cams)
            except (ImageError, EndpointError) as error:
                records[cell.key] = _failed(cell, pair, position, error)
                continue
            seconds = time.perf_counter() - started
            records[cell.key] = _figures(cell, pair, position, values, truth, seconds)
    return records


def _laid(a: Planes, b: Planes, registration: Registration) -> Registered | ImageError:
    try:
        return registration(a, b)
    except ImageError as error:
        return error


def _figures(
    cell: DifferenceCell,
    pair: Pair,
    position: int,
    values: Map,
    truth: Truth,
    seconds: float | None,
    detail: str | None = None,
) -> list[DifferenceRecord]:
    """Return one record a method of what a map tells of the changes."""
    rows = []
    known: dict[str, tuple[float, float]] = {}
    for place, method in zip(_positions(cell, position), cell.methods, strict=True):
        shown, mask = apply(method.postprocess, values)
        smoothing = postprocess_id(tuple(step for step in method.postprocess if step.stage == "map"))
        if smoothing not in known:
            known[smoothing] = truth.pixel_ap(shown), truth.pointing(shown)
        ap, points = known[smoothing]
        assert mask is not None  # a suite's methods have a threshold
        marked = truth.found([region.peak for region in regions(mask, shown)])
        rows.append(
            DifferenceRecord(
                position=place,
                sample=pair.name,
                source=pair.source,
                postprocess=postprocess_id(method.postprocess),
                detail=detail,
                spots=truth.spots,
                found=marked.found,
                regions=marked.regions,
                right=marked.right,
                iou=truth.iou(mask),
                pixel_ap=None if np.isnan(ap) else ap,
                pointing=None if np.isnan(points) else points,
                seconds=seconds,
            )
        )
    return rows


def _failed(
    cell: DifferenceCell, pair: Pair, position: int, error: ImageError | EndpointError
) -> list[DifferenceRecord]:
    kind = "image" if isinstance(error, ImageError) else "endpoint"
    return [
        DifferenceRecord(
            position=place,
            sample=pair.name,
            source=pair.source,
            postprocess=postprocess_id(method.postprocess),
            error=f"{kind}:{error.reason}",
            detail=str(error),
        )
        for place, method in zip(_positions(cell, position), cell.methods, strict=True)
    ]
