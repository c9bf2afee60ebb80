"""The manifest of a data set: one Parquet row an image, built once, streamed ever after."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from heapq import nsmallest
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.data.layouts import Found
from harness.data.sample import NATURE, Sample, SubsetInfo
from harness.errors import DataError, problem
from harness.images.sniff import sniff
from harness.store.files import writing

VERSION = 2
"""Raised when a manifest's meaning changes."""

ROWS = 8192
"""Rows held at once."""

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("jpeg_quality", pa.int8()),
        ("label", pa.int8()),
        ("subset", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("target", pa.int32()),
    ]
)


class Manifest:
    """A manifest on disk, or as it came from another machine.

    Args:
        source: the Parquet file, or its bytes; its footer carries the digest and the subsets.
    """

    def __init__(self, source: Path | bytes) -> None:
        self.source = source
        with self._opened() as file:
            said = file.metadata.metadata
        self.digest: str = said[b"discern.digest"].decode()
        self.infos = [SubsetInfo(*row) for row in json.loads(said[b"discern.subsets"])]

    def content(self) -> bytes:
        """Return the file's bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def samples(self, subset: str, split: str, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        """Yield a subset's samples in manifest order; at most ``limit``, those of the smallest seeded hashes.

        Raises:
            DataError: the file is damaged.
        """
        if limit is None:
            yield from self._stream(subset, split)
            return
        chosen = Counter(nsmallest(limit, (_draw(seed, row.path) for row in self._stream(subset, split))))
        for row in self._stream(subset, split):
            drawn = _draw(seed, row.path)
            if chosen[drawn]:
                chosen[drawn] -= 1
                yield row

    def _stream(self, subset: str, split: str) -> Iterator[Sample]:
        wanted = (pc.field("subset") == subset) & (pc.field("split") == split)
        try:
            with self._opened() as file:
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(SCHEMA.get_field_index("subset")).statistics
                    if statistics is not None and not statistics.min <= subset <= statistics.max:
                        continue
                    table = file.read_row_group(group).filter(wanted)
                    for batch in table.to_batches(max_chunksize=1024):
                        for row in batch.to_pylist():
                            yield Sample(**row)
        except (pa.ArrowException, OSError, IndexError, TypeError, ValueError) as error:
            what = "a manifest" if isinstance(self.source, bytes) else str(self.source)
            do = "Delete it: it is made again"
            raise DataError(problem(what, "a whole manifest", str(error).partition("\n")[0], do)) from error

    def _opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(pa.BufferReader(self.source) if isinstance(self.source, bytes) else self.source)


class ManifestDataset:
    """What every data set has of its manifest; a subclass reads the images.

    Args:
        name: name in the suite.
        manifest: the manifest.
        note: what a report must say of the data.
        ready: whether its images are neither resized nor cropped.
    """

    def __init__(self, name: str, manifest: Manifest, note: str = "", ready: bool = False) -> None:
        self.name, self.manifest, self.note, self.ready = name, manifest, note, ready

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest's rows."""
        return self.manifest.digest

    def subsets(self) -> list[SubsetInfo]:
        """Return every (subset, split), sorted."""
        return self.manifest.infos

    def samples(self, subset: str, split: str, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        """Yield the subset's samples in manifest order; at most ``limit``, by a seeded hash of the path."""
        return self.manifest.samples(subset, split, limit, seed)


def write_manifest(
    path: Path, found: Iterator[Found], read: Callable[[str], bytes], progress: Callable[[int], None], workers: int = 4
) -> None:
    """Read every file once, in parallel, and write the manifest whole or not at all.

    Unreadable and damaged files become rows of format ``unknown``: they fail as records, not here.

    Args:
        path: where it goes.
        found: the layout's files, in order.
        read: returns a file's bytes by its path.
        progress: receives the number of files done.
        workers: threads; hashing and reading let others run.

    Raises:
        DataError: a name that is no text, or a subset whose images of one split are both real and fake.
        StoreError: the disk refuses.
    """
    digest = hashlib.sha256()
    counts: dict[tuple[str, int, str], int] = {}
    labels: dict[tuple[str, str], int] = {}
    done = 0
    with (
        writing(path) as part,
        pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer,
        ThreadPoolExecutor(workers) as pool,
    ):
        rows = _in_order(pool, found, read, window=8 * workers)
        while block := list(islice(rows, ROWS)):
            for row in block:
                _check(row, labels.setdefault((row.subset, row.split), row.label))
                said = (row.path, row.sha256, row.label, row.subset, row.split, row.source, *_known(row.target))
                digest.update(json.dumps(said).encode())
                key = (row.subset, row.label, row.split)
                counts[key] = counts.get(key, 0) + 1
            writer.write_table(_table(block))
            done += len(block)
            progress(done)
        subsets = [(*key, count) for key, count in sorted(counts.items())]
        writer.add_key_value_metadata({"discern.digest": digest.hexdigest(), "discern.subsets": json.dumps(subsets)})


def listing_key(found: Iterator[Found], stat: Callable[[str], tuple[int, int]]) -> str:
    """Return a digest of what a layout finds, with sizes and times: the same listing needs no new manifest."""
    digest = hashlib.sha256(str(VERSION).encode())
    for item in found:
        digest.update(json.dumps([*astuple(item), *stat(item.path)]).encode())
    return digest.hexdigest()


def _in_order(
    pool: ThreadPoolExecutor, found: Iterator[Found], read: Callable[[str], bytes], window: int
) -> Iterator[Sample]:
    ahead: deque[Future[Sample]] = deque()
    for item in found:
        ahead.append(pool.submit(describe, item, read))
        if len(ahead) >= window:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def describe(item: Found, read: Callable[[str], bytes]) -> Sample:
    """Return the manifest row of one file."""
    try:
        data = read(item.path)
    except OSError:
        data = b""
    header = sniff(data)
    return Sample(
        path=item.path,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        width=min(header.width, 2**31 - 1),
        height=min(header.height, 2**31 - 1),
        format=header.format,
        jpeg_quality=header.jpeg_quality,
        label=item.label,
        subset=item.subset,
        split=item.split,
        source=item.source,
        target=item.target,
    )


def _check(row: Sample, label: int) -> None:
    """Refuse a row that can't be stored, or whose label is not its subset's."""
    try:
        row.path.encode()
    except UnicodeEncodeError as error:
        raise DataError(problem(ascii(row.path), "a name in UTF-8", "other bytes", "Rename the file")) from error
    if row.label != label:
        what = f"subset {row.subset} of split {row.split}"
        do = f"Call the subset of its reals {NATURE}:{row.subset}"
        raise DataError(problem(what, "real or fake images alone", f"both, at {row.path}", do))


def _table(rows: list[Sample]) -> pa.Table:
    return pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, schema=SCHEMA)


def _known(target: int | None) -> tuple[int, ...]:
    return () if target is None else (target,)


def _draw(seed: int, path: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}|{path}".encode()).digest(), path
