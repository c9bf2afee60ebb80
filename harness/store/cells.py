"""Records of cells on disk, by content hash: append-only Parquet parts, shared by all runs under one root."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.store.files import write_atomic
from harness.store.records import RETRIED, SCHEMA


class Row(Protocol):
    """A record: a value with an attribute for each of its schema's columns."""

    @property
    def position(self) -> int:
        """Its place in its cell, from 0."""
        ...


class CellStore:
    """Cells under ``root/<first two digits>/<hash>/``; a part is written whole or not at all.

    Args:
        root: folder of all cells; made when first written.
        schema: of their records; ``position``, ``error`` and ``detail`` are among its columns.
    """

    def __init__(self, root: Path, schema: pa.Schema = SCHEMA) -> None:
        self.root, self.schema = root, schema

    def append(self, key: str, records: Sequence[Row]) -> None:
        """Add records to a cell. Raises StoreError where the disk refuses."""
        if not records:
            return
        buffer = io.BytesIO()
        columns = {name: [getattr(record, name) for record in records] for name in self.schema.names}
        pq.write_table(pa.table(columns, schema=self.schema), buffer, compression="zstd")
        name = f"{records[0].position:09d}-{uuid.uuid4().hex[:8]}.parquet"
        write_atomic(self._folder(key) / name, buffer.getvalue())

    def answered(self, key: str) -> NDArray[np.int64]:
        """Return the sorted positions that need no further asking: answers, and failures that are final."""
        table = self.read(key, columns=("position", "error"))
        if table.num_rows == 0:
            return np.zeros(0, np.int64)
        retried = pc.fill_null(pc.starts_with(table["error"], RETRIED), False)
        return np.asarray(table.filter(pc.invert(retried))["position"].to_numpy(), np.int64)

    def read(self, key: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a cell's records by position, one per position: an answer wins over a failure.

        Args:
            key: the cell's content hash.
            columns: columns wanted; ``position`` and ``error`` always come along.
        """
        wanted = list(dict.fromkeys(("position", "error", *(columns or self.schema.names))))
        parts = [part for path in self._parts(key) if (part := _read_part(path, wanted)) is not None]
        if not parts:
            return pa.schema([self.schema.field(name) for name in wanted]).empty_table()
        table = pa.concat_tables(parts)
        position = table["position"].to_numpy()
        failed = table["error"].is_valid().to_numpy()
        order = np.lexsort((failed, position))
        first = np.ones(len(order), bool)
        first[1:] = position[order][1:] != position[order][:-1]
        return table.take(pa.array(order[first]))

    def copy(self, key: str, target: CellStore) -> None:
        """Write a cell's parts into another store as they are. Raises StoreError where the disk refuses."""
        for path in self._parts(key):
            write_atomic(target._folder(key) / path.name, path.read_bytes())

    def parts(self) -> Iterator[Path]:
        """Yield the path of every part of every cell; its folder is named after the cell's key."""
        yield from sorted(self.root.glob("??/*/[0-9]*.parquet"))

    def size(self, key: str) -> int:
        """Return the bytes that a cell takes."""
        return sum(path.stat().st_size for path in self._parts(key))

    def state(self, keys: Iterable[str]) -> str:
        """Return a digest of which parts the cells have: while it stays the same, so do their records."""
        names = [path.relative_to(self.root).as_posix() for key in keys for path in self._parts(key)]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _parts(self, key: str) -> Iterator[Path]:
        yield from sorted(self._folder(key).glob("[0-9]*.parquet"))


def _read_part(path: Path, columns: list[str]) -> pa.Table | None:
    """Read one part; a damaged one counts as not there, so that its images are asked again."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns, use_threads=False).select(columns)
    except (pa.ArrowInvalid, KeyError, OSError):
        return None
