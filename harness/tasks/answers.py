"""Records of cells as arrays: scores turned so that fake is high. The only way figures see a model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.card import Card
from harness.plan import Cell
from harness.store.cells import CellStore

Floats = NDArray[np.float64]
Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class Answers:
    """What one model said of the images of one or more cells.

    Attributes:
        samples: paths, a string array (n,).
        ids: what the paths hash to, uint64 (n,); the same image has the same id in every cell.
        sources: what the clusters' names hash to, uint64 (n,).
        labels: 0 real, 1 fake, int64 (n,).
        scores: oriented, float64 (n, heads): higher means fake.
        failures: number of failed records by reason; they are in none of the arrays.
    """

    samples: pa.ChunkedArray
    ids: Ids
    sources: Ids
    labels: NDArray[np.int64]
    scores: Floats
    failures: Mapping[str, int]

    @property
    def failed(self) -> int:
        """How many records are failures."""
        return sum(self.failures.values())


@dataclass(frozen=True)
class Outcomes:
    """Whether images were decided rightly: uint64 ids (n,), each once and sorted, and bool (n,)."""

    ids: Ids
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, ids: Ids, right: NDArray[np.bool_]) -> Outcomes:
        """Return them sorted, each image once."""
        unique, first = np.unique(ids, return_index=True)
        return cls(unique, right[first])

    @classmethod
    def union(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Return those of several cells, which may share images."""
        return cls.of(np.concatenate([part.ids for part in parts]), np.concatenate([part.right for part in parts]))

    def shared(self, other: Outcomes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether each of two was right, over the images that both have."""
        _, here, there = np.intersect1d(self.ids, other.ids, assume_unique=True, return_indices=True)
        return self.right[here], other.right[there]


def answered(store: CellStore, cell: Cell) -> tuple[pa.Table, Mapping[str, int]]:
    """Return the records of one cell that are answers, and how many are not by reason.

    A position without a record counts as the failure ``missing``.
    """
    table = store.read(cell.key)
    failures = {row["values"]: row["counts"] for row in pc.value_counts(table["error"].drop_null()).to_pylist()}
    if table.num_rows < cell.images:
        failures["missing"] = cell.images - table.num_rows
    return table.filter(pc.is_null(table["error"])), failures


def scores_of(answers: pa.Table, count: int) -> NDArray[np.float32]:
    """Return the scores of answered records as the model gave them, float32 (n, count)."""
    flat = answers["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(answers.num_rows, count)


def counted(failures: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the sums of several counts of failures by reason."""
    return sum(map(Counter, failures), Counter())


def read_answers(store: CellStore, cell: Cell, card: Card) -> Answers:
    """Return one cell's answers; a position without a record counts as the failure ``missing``."""
    good, failures = answered(store, cell)
    scores = scores_of(good, len(card.heads)).astype(np.float64)
    return Answers(
        samples=good["sample"],
        ids=hashed(good["sample"]),
        sources=hashed(good["source"]),
        labels=good["label"].to_numpy().astype(np.int64),
        scores=-scores if card.fake == "low" else scores,
        failures=failures,
    )


def join(parts: Iterable[Answers], heads: int) -> Answers:
    """Return several cells' answers as one."""
    items = list(parts)
    return Answers(
        samples=pa.chunked_array([chunk for item in items for chunk in item.samples.chunks], pa.string()),
        ids=np.concatenate([item.ids for item in items] or [np.zeros(0, np.uint64)]),
        sources=np.concatenate([item.sources for item in items] or [np.zeros(0, np.uint64)]),
        labels=np.concatenate([item.labels for item in items] or [np.zeros(0, np.int64)]),
        scores=np.concatenate([item.scores for item in items] or [np.zeros((0, heads))]),
        failures=counted(item.failures for item in items),
    )


def hashed(names: pa.ChunkedArray) -> Ids:
    """Return 64 bits for each name: 8 bytes an image, whatever its path is."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names.to_pylist())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
