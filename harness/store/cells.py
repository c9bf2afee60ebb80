"""Records of cells on disk, by content hash: append-only Parquet parts, shared by all runs under one root."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.errors import DamagedWarning, StoreError, problem
from harness.store.records import RETRIED, SCHEMA
from harness.store.shelves import LocalShelf, open_shelf

DIGEST = 16
"""Digits of a part's content in its name; parts of earlier versions have fewer, which say nothing."""

ALWAYS = ("position", "error")
"""Columns that are always read."""

ADDED = frozenset({"machine_memory", "gpu_memory"})
"""Columns that parts of earlier versions may lack: null there."""


class Row(Protocol):
    """A record: a value with an attribute for each of its schema's columns."""

    @property
    def position(self) -> int:
        """Its place in its cell, from 0."""
        ...


class CellStore:
    """Cells under ``root/<first two digits>/<hash>/``; a part is written whole or not at all.

    A part is named after its first and last position and its content, so that the same records are written once and
    damage shows; what is damaged counts as not there, with a :class:`~harness.errors.DamagedWarning`.

    Args:
        root: folder of all cells, made when first written; or a URL of any store that fsspec reaches.
        schema: of their records; ``position``, ``error`` and ``detail`` are among its columns.
    """

    def __init__(self, root: Path | str, schema: pa.Schema = SCHEMA) -> None:
        self.shelf, self.schema = open_shelf(root), schema
        self.root = self.shelf.root if isinstance(self.shelf, LocalShelf) else root

    def append(self, key: str, records: Sequence[Row]) -> None:
        """Add records to a cell. Raises StoreError where the disk or the store refuses."""
        if not records:
            return
        buffer = io.BytesIO()
        columns = {name: [getattr(record, name) for record in records] for name in self.schema.names}
        pq.write_table(pa.table(columns, schema=self.schema), buffer, compression="zstd")
        content = buffer.getvalue()
        positions = [record.position for record in records]
        name = f"{min(positions):09d}-{max(positions):09d}-{_digest(content)}.parquet"
        self.shelf.write(f"{_folder(key)}/{name}", content)

    def answered(self, key: str, span: range | None = None) -> NDArray[np.int64]:
        """Return the sorted positions that need no further asking: answers, and failures that are final.

        Args:
            key: the cell's content hash.
            span: these positions are asked for; of others, only what lies beside them is told.
        """
        table = self.read(key, ("position", "error"), span)
        if table.num_rows == 0:
            return np.zeros(0, np.int64)
        retried = pc.fill_null(pc.starts_with(table["error"], RETRIED), False)
        return np.asarray(table.filter(pc.invert(retried))["position"].to_numpy(), np.int64)

    def read(self, key: str, columns: Sequence[str] | None = None, span: range | None = None) -> pa.Table:
        """Return a cell's records by position, one per position: an answer wins over a failure.

        Args:
            key: the cell's content hash.
            columns: columns wanted; ``position`` and ``error`` always come along.
            span: positions of consequence; parts that hold none of them are not opened. All where None.
        """
        wanted = list(dict.fromkeys((*ALWAYS, *(columns or self.schema.names))))
        names = [name for name in self._names(key) if span is None or _holds(name, span)]
        read = zip(names, self.shelf.read(names), strict=True)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        parts = [part for name, said in read if (part := _read_part(f"{self.root}/{name}", said, schema)) is not None]
        if not parts:
            return schema.empty_table()
        table = pa.concat_tables(parts)
        position = table["position"].to_numpy()
        failed = table["error"].is_valid().to_numpy()
        order = np.lexsort((failed, position))
        first = np.ones(len(order), bool)
        first[1:] = position[order][1:] != position[order][:-1]
        return table.take(pa.array(order[first]))

    def copy(self, key: str, target: CellStore) -> None:
        """Write a cell's parts into another store as they are. Raises StoreError where the disk refuses."""
        names = self._names(key)
        for name, content in zip(names, self.shelf.read(names), strict=True):
            try:
                target.shelf.write(name, _whole(name, content))
            except (OSError, ValueError) as error:
                do = "Run the suite again to have its records, and delete it"
                raise StoreError(problem(f"{self.root}/{name}", "a whole part", str(error), do)) from error

    def parts(self) -> Iterator[Path]:
        """Yield the path of every part in a folder, which is named after its cell's key; a URL has no paths."""
        if isinstance(self.shelf, LocalShelf):
            yield from sorted(self.shelf.root.glob("??/*/[0-9]*.parquet"))

    def part_names(self, key: str) -> frozenset[str]:
        """Return the names of the parts that a cell has."""
        return frozenset(name.rpartition("/")[2] for name in self._names(key))

    def size(self, key: str) -> int:
        """Return the bytes that a cell takes."""
        return sum(self.shelf.sizes(_folder(key)))

    def state(self, keys: Iterable[str]) -> str:
        """Return a digest of which parts the cells have: while it stays the same, so do their records."""
        names = [name for key in keys for name in self._names(key)]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def _names(self, key: str) -> list[str]:
        return [name for name in self.shelf.names(_folder(key)) if name.endswith(".parquet")]


def _folder(key: str) -> str:
    return f"{key[:2]}/{key}"


def _holds(name: str, span: range) -> bool:
    """Whether a part may hold any of these positions; names of earlier versions say the first one alone."""
    first, *last = name.rpartition("/")[2].removesuffix(".parquet").split("-")[:-1]
    return int(first) < span.stop and (not last or int(last[0]) >= span.start)


def _read_part(path: str, content: bytes | OSError, schema: pa.Schema) -> pa.Table | None:
    """Read one part; a damaged one counts as not there, so that its images are asked again."""
    try:
        with pq.ParquetFile(pa.BufferReader(_whole(path, content))) as file:
            table = file.read(schema.names, use_threads=False)
        if not _digested(path):
            table.validate(full=True)  # nothing else says that its text is text
        for field in schema:
            if field.name in ADDED.difference(table.column_names):
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return table.select(schema.names)
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        _warn_damaged(path, error)
        return None


def _whole(path: str, content: bytes | OSError) -> bytes:
    """Return a part's bytes; raises OSError where they can't be read, ValueError where they are not those written."""
    if isinstance(content, OSError):
        raise content
    if (named := _digested(path)) and named != _digest(content):
        raise ValueError(f"{len(content):,} bytes of another digest")
    return content


def _digested(path: str) -> str:
    """Return the digest that a part's name tells; empty where it tells none."""
    named = path.removesuffix(".parquet").rpartition("-")[2]
    return named if len(named) == DIGEST else ""


def _warn_damaged(path: Path | str, error: Exception) -> None:
    """Say that a part is damaged and counts as not there."""
    do = "Its records count as not there: run the suite again to have them, and delete it"
    got = str(error).partition("\n")[0]
    warnings.warn(DamagedWarning(problem(str(path), "a whole part", got, do)), stacklevel=3)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST]
