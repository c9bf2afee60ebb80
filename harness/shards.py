"""Cuts what is open of a plan into shards: one model's cells over a stretch of the same images. Asks nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.engines import images_of
from harness.plan import Cell

Open = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shard:
    """A task of a cluster: some cells of one model, and which of their images.

    Attributes:
        cells: over the same images, in the same batches.
        start, stop: positions; whole chunks of every cell.
        answers: how many of them are open.
    """

    cells: tuple[Cell, ...]
    start: int
    stop: int
    answers: int

    @property
    def span(self) -> range:
        """Its positions."""
        return range(self.start, self.stop)

    @property
    def name(self) -> str:
        """What it is, in messages."""
        cell = self.cells[0]
        return f"{cell.model}, {cell.subset}/{cell.split} {self.start}..{self.stop - 1}"


def groups(cells: Iterable[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells that one shard can hold, each key once; those of one model follow each other."""
    unique = {cell.key: cell for cell in cells}.values()
    for _, members in groupby(sorted(unique, key=_together), key=_together):
        yield tuple(members)


def cut(cells: Sequence[Cell], masks: Sequence[Open], most: int) -> Iterator[Shard]:
    """Yield shards that hold every open position of a group's cells once.

    Args:
        cells: of one group.
        masks: of each cell, which positions are open: bool (images,), whole chunks.
        most: answers of a shard, where one chunk of images has no more.
    """
    batch, images = cells[0].batch, cells[0].images
    starts = np.arange(0, images, batch)
    wanted = np.array([np.add.reduceat(mask, starts, dtype=np.int64) for mask in masks]) if images else np.zeros((1, 0))
    per_chunk = wanted.sum(axis=0)
    taken: list[int] = []
    answers = 0
    for chunk in np.flatnonzero(per_chunk):
        if taken and answers + per_chunk[chunk] > most:
            yield _shard(cells, wanted, taken, answers)
            taken, answers = [], 0
        taken.append(int(chunk))
        answers += int(per_chunk[chunk])
    if taken:
        yield _shard(cells, wanted, taken, answers)


def _shard(cells: Sequence[Cell], wanted: NDArray[Any], chunks: Sequence[int], answers: int) -> Shard:
    batch, images = cells[0].batch, cells[0].images
    first, last = chunks[0], chunks[-1]
    mine = tuple(cell for cell, counts in zip(cells, wanted, strict=True) if counts[first : last + 1].any())
    return Shard(mine, first * batch, min((last + 1) * batch, images), answers)


def _together(cell: Cell) -> tuple[Any, ...]:
    return (cell.model, cell.batch, *images_of(cell))
