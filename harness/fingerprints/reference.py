"""Real images that artifacts are taken against, in one space, as they lie on disk: held against their digests.

Loads nothing but arrays of numbers.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, ValidationError

from harness.arrays import read_npy
from harness.errors import DataError, StoreError, problem
from harness.fingerprints.neighbours import BLOCK, LARGEST, Distances, Floats, Hashes, Neighbours, Rows
from harness.fingerprints.pixels import content_hashes
from harness.fingerprints.spaces import Features, Images, SpaceName
from harness.frozen import Frozen
from harness.images.preprocess import Preprocess

ABOUT = "reference.json"
FEATURES, HASHES, CENTRES = "features.npy", "hashes.npy", "centres.npy"

VERSION = 1
"""Part of every identity; raised when a space or a hash changes meaning."""


class Basis(Frozen):
    """What decides which artifacts a reference gives; its digest is the reference's identity.

    Attributes:
        version: :data:`VERSION`.
        space: of the features.
        embedder: digest of the embedder's weights; empty in the other spaces.
        images: digest over the images in order, as the models see them.
        index: how neighbours are searched.
    """

    version: int = VERSION
    space: SpaceName
    embedder: str
    images: str
    index: str

    @property
    def identity(self) -> str:
        """SHA-256 in hex: what a card's ``reference`` names."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class About(Frozen):
    """What reference.json says.

    Attributes:
        identity: of the basis.
        basis: what the reference is made of.
        data, split: which images, by their names where it was fitted.
        preprocess: what was done to them.
        embedder: the embedder's name; empty in the other spaces.
        count: images.
        shape: of one image's features.
        recall: recall@1 of an approximate search; None where it is exact.
        seconds: what fitting took.
        files: SHA-256 of the files beside it.
    """

    identity: str
    basis: Basis
    data: str
    split: str
    preprocess: Preprocess
    embedder: str
    count: PositiveInt
    shape: tuple[PositiveInt, ...]
    recall: float | None
    seconds: float
    files: dict[str, str]


@dataclass(frozen=True)
class Reference:
    """A reference that is ready to be asked.

    Attributes:
        about: what it is.
        folder: where it lies.
        neighbours: its rows.
    """

    about: About
    folder: Path
    neighbours: Neighbours

    @property
    def identity(self) -> str:
        """What a card's ``reference`` names."""
        return self.about.identity

    @property
    def described(self) -> str:
        """What it is, in a line."""
        about, basis = self.about, self.about.basis
        embedder = f" {about.embedder} of weights {basis.embedder[:12]}" if about.embedder else ""
        recall = "" if about.recall is None else f", recall@1 {about.recall:.3f}"
        size = " x ".join(map(str, about.shape))
        where = f"{about.data}/{about.split}, {about.count:,} images of {size}"
        return f"reference {self.identity[:12]}: {basis.space}{embedder}, {where}, {basis.index}{recall}"

    @property
    def bytes(self) -> int:
        """What its files take."""
        return sum(item.stat().st_size for item in self.folder.iterdir())

    @property
    def facts(self) -> dict[str, str]:
        """What a card may say of the reference, under ``training``, beside its identity."""
        basis = self.about.basis
        said = {"reference_data": f"{self.about.data}/{self.about.split}, {self.about.count} images"}
        return {**said, **({"reference_embedder_sha256": basis.embedder} if basis.embedder else {})}

    def nearest(self, found: Features, hashes: Hashes) -> tuple[Rows, Distances]:
        """Return the nearest row of another image, and its squared L2 distance, for each image.

        Args:
            found: features, float32 (n, *shape).
            hashes: :func:`content_hashes` of the images, uint64 (n,).

        Raises:
            DataError: features of another shape: the images have another size.
        """
        if found.shape[1:] != self.about.shape:
            what = f"artifacts in space {self.about.basis.space}"
            got = " x ".join(map(str, found.shape[1:]))
            expected = f"features of {' x '.join(map(str, self.about.shape))}, as the reference's"
            raise DataError(problem(what, expected, got, "Give images of the reference's size"))
        return self.neighbours.nearest(flat(found), hashes)

    def artifacts(self, found: Features, images: Images) -> Features:
        """Return features minus those of each image's nearest neighbour, float32 (n, *shape).

        Args:
            found: features of the images, float32 (n, *shape).
            images: uint8 (n, height, width, 3).

        Returns:
            float32; nan for images whose features are no numbers, so that one of them costs no other its answer.
        """
        made = np.full(found.shape, np.nan, np.float32)
        good = (np.abs(flat(found)) < LARGEST).all(axis=1)
        if good.any():
            rows, _ = self.nearest(found[good], content_hashes(images[good]))
            made[good] = found[good] - self.neighbours.features[rows].reshape(found[good].shape)
        return made


def open_reference(place: Path) -> Reference:
    """Open a fitted reference.

    Raises:
        StoreError: it can't be read, or its files are not those that were written.
    """
    try:
        about = About.model_validate_json((place / ABOUT).read_bytes())
        for name in sorted(about.files):
            if name not in (FEATURES, HASHES, CENTRES) or file_digest(place / name) != about.files[name]:
                raise _changed(place, f"{name} of another content")
        if about.identity != about.basis.identity:
            raise _changed(place, "another identity")
        rows, hashes = read_npy(place / FEATURES, mapped=True), read_npy(place / HASHES)
        centres = read_npy(place / CENTRES) if CENTRES in about.files else None
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise _changed(place, type(error).__name__) from error
    _check_arrays(place, about, rows, hashes, centres)
    return Reference(about, place, Neighbours(rows, hashes, centres))


def _check_arrays(
    place: Path, about: About, rows: NDArray[Any], hashes: NDArray[Any], centres: NDArray[Any] | None
) -> None:
    """Refuse arrays that no search could be made in, or would end in."""
    size = math.prod(about.shape)
    floats = [(rows, (about.count, size)), *([(centres, (len(centres), size))] if centres is not None else ())]
    if hashes.dtype != np.uint64 or hashes.shape != (about.count,):
        raise _changed(place, f"hashes of {hashes.dtype} {hashes.shape}")
    for values, shape in floats:
        if values.dtype != np.float32 or values.shape != shape or not values.flags.c_contiguous:
            raise _changed(place, f"features of {values.dtype} {values.shape}")
        blocks = range(0, len(values), step := max(1, BLOCK // size))
        if not all((np.abs(values[start : start + step]) < LARGEST).all() for start in blocks):
            raise _changed(place, "features without end")


def flat(found: Features) -> Floats:
    """Return one row an image, float32 (n, dimensions)."""
    return np.ascontiguousarray(found.reshape(len(found), -1), np.float32)


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(place: Path, got: str) -> StoreError:
    return StoreError(problem(f"reference {place}", "its files as they were written", got, "Delete the folder"))
