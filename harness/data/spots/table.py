"""Pairs that a CSV table lists, their truth told by boxes or mask pictures; registers and resizes nothing."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from harness.data.inside import read_inside, stays_inside
from harness.data.spots.pairs import Pair, Pixels, Split
from harness.errors import DataError, ImageError, problem
from harness.images.decode import decode
from harness.images.preprocess import Image

Box = tuple[int, int, int, int]
"""top, left, bottom, right in pixels of a; bottom and right lie outside."""

COLUMNS = ("name", "subset", "split", "source", "a", "b", "mask", "boxes")
SUBSET = "pairs"
"""Of pairs that name none."""


@dataclass(frozen=True, slots=True)
class _Row:
    pair: Pair
    a: str
    b: str
    mask: str
    boxes: tuple[Box, ...]


class TablePairs:
    """Pairs listed in a CSV file.

    Columns ``a`` and ``b`` are paths; ``name`` (else a), ``subset`` (else ``pairs``), ``split`` (else ``test``) and
    ``source`` (else the name) may be left out. The truth is in ``boxes``, written ``top:left:bottom:right;...`` in
    pixels of a, bottom and right outside, or in ``mask``, the path of a picture whose grey level is above 127 where
    something changed: each 8-connected piece is a spot. A row with neither says that nothing changed.

    Args:
        table: the CSV file.
        root: folder that its paths start from and stay in; the table's own where None.

    Raises:
        DataError: no table, no pair in it, a missing or unknown column, or a row that can't be used, with its line.
    """

    note = ""

    def __init__(self, table: Path, root: Path | None = None) -> None:
        self.table, self.root = table, (table.parent if root is None else root).resolve()
        self._rows = {row.pair.name: row for row in _read(table)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the rows and the bytes of all files that they name."""
        running = hashlib.sha256()
        for row in self._rows.values():
            running.update(repr(row).encode())
            for path in filter(None, (row.a, row.b, row.mask)):
                try:
                    running.update(hashlib.sha256(self._bytes(path)).digest())
                except ImageError as error:
                    running.update(error.reason.encode())
        return running.hexdigest()

    def subsets(self, split: Split) -> dict[str, int]:
        """Return the number of pairs of each subset, sorted by its name."""
        found = Counter(row.pair.subset for row in self._rows.values() if row.pair.split == split)
        return dict(sorted(found.items()))

    def pairs(self, subset: str, split: Split, limit: int | None = None) -> Iterator[Pair]:
        """Yield a subset's pairs in the table's order, the first ``limit`` of them."""
        of_it = (row.pair for row in self._rows.values() if (row.pair.subset, row.pair.split) == (subset, split))
        return islice(of_it, limit)

    def read(self, pair: Pair) -> Pixels:
        """Return a pair's pictures and truth: parts of a mask, or boxes, where a pixel belongs to the smallest.

        Raises:
            ImageError: ``missing``, ``sizes`` where a, b and the mask differ in size, ``boxes`` where one lies outside,
                ``mask`` where it is transparent, or what ``decode`` says.
        """
        row = self._rows[pair.name]
        a, b = decode(self._bytes(row.a)), decode(self._bytes(row.b))
        _same_size(pair.name, f"{row.a} and {row.b}", a, b)
        if not row.mask:
            return Pixels(a, b, _drawn(pair.name, row.boxes, a.shape[0], a.shape[1]))
        mask = _mask(row.mask, self._bytes(row.mask))
        _same_size(pair.name, f"{row.a} and {row.mask}", a, mask)
        _, truth = cv2.connectedComponents((mask.max(axis=2) > 127).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        return Pixels(a, b, truth.astype(np.int32))

    def _bytes(self, path: str) -> bytes:
        try:
            return read_inside(self.root, path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageError("missing", problem(path, "a readable file", reason, "Restore the data")) from error


def _read(table: Path) -> Iterator[_Row]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            said = [(reader.line_num, row) for row in reader]
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(problem(f"{table}", "a CSV table in UTF-8", str(error), "Check the path")) from error
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or not {"a", "b"} <= set(columns) or not {"mask", "boxes"} & set(columns):
        expected = f"columns a, b, and mask or boxes, and none but {', '.join(COLUMNS)}"
        raise DataError(problem(f"{table}: columns", expected, ", ".join(columns) or "none", "Name them so"))
    if not said:
        raise DataError(problem(f"{table}", "pairs", "no row", "List some"))
    lines: dict[str, int] = {}
    for line, row in said:
        read = _row(f"{table}:{line}", row)
        first = lines.setdefault(read.pair.name, line)
        if first != line:
            got, do = f"{read.pair.name!r} in line {first} too", "Fill in the column name"
            raise DataError(problem(f"{table}:{line}: name", "one pair of a name", got, do))
        yield read


def _row(what: str, row: dict[str | None, str | list[str] | None]) -> _Row:
    """Read one row; ``what`` is its file and line."""
    if None in row or None in row.values():
        raise DataError(problem(what, "as many cells as columns", "another number", "Put commas in quotes"))
    cells = {str(column): str(cell).strip() for column, cell in row.items()}
    for column in ("a", "b", "mask"):
        path = cells.get(column, "")
        if column != "mask" and not path:
            raise DataError(problem(f"{what}: {column}", "a path", "none", "Add it"))
        if not stays_inside(path):
            raise DataError(problem(f"{what}: {column}", "a path inside its folder", path, "Move the file there"))
    mask, boxes = cells.get("mask", ""), cells.get("boxes", "")
    if mask and boxes:
        raise DataError(problem(what, "a mask or boxes", "both", "Keep one"))
    name = cells.get("name") or cells["a"]
    splits: dict[str, Split] = {split: split for split in get_args(Split)}
    split = splits.get(cells.get("split") or "test")
    if split is None:
        raise DataError(problem(f"{what}: split", "val or test", repr(cells["split"]), "Correct it"))
    corners = tuple(_box(f"{what}: boxes", box) for box in boxes.split(";") if boxes)
    known = None if mask else len(corners)
    pair = Pair(name, cells.get("subset") or SUBSET, split, cells.get("source") or name, known)
    return _Row(pair, cells["a"], cells["b"], mask, corners)


def _box(what: str, said: str) -> Box:
    words = said.split(":")
    if len(words) == 4 and all(word.strip().isdecimal() for word in words):
        top, left, bottom, right = (int(word) for word in words)
        if top < bottom and left < right:
            return top, left, bottom, right
    raise DataError(problem(what, "top:left:bottom:right in pixels", repr(said), "Correct it"))


def _drawn(name: str, boxes: tuple[Box, ...], height: int, width: int) -> NDArray[np.int32]:
    """Return boxes as a truth map, small ones above large ones."""
    truth = np.zeros((height, width), np.int32)
    sized = [((bottom - top) * (right - left), k) for k, (top, left, bottom, right) in enumerate(boxes, 1)]
    for _, k in sorted(sized, reverse=True):
        top, left, bottom, right = boxes[k - 1]
        if bottom > height or right > width:
            got = f"{top}:{left}:{bottom}:{right}"
            raise ImageError("boxes", problem(f"pair {name}", f"boxes in {height} x {width}", got, "Correct the table"))
        truth[top:bottom, left:right] = k
    return truth


def _mask(path: str, data: bytes) -> Image:
    """Return a mask's picture; what is transparent is neither changed nor unchanged, and refused."""
    mask = decode(data)
    with PILImage.open(io.BytesIO(data)) as opened:  # `decode` has found it sound
        if opened.has_transparency_data:
            got, do = "transparency", "Save it in black and white"
            raise ImageError("mask", problem(path, "a mask without transparency", got, do))
    return mask


def _same_size(name: str, which: str, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    if first.shape != second.shape:
        got = f"{which} of {first.shape[1]} x {first.shape[0]} and {second.shape[1]} x {second.shape[0]}"
        raise ImageError("sizes", problem(f"pair {name}", "pictures of one size", got, "Register them first"))
