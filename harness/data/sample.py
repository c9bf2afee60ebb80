"""One row of a manifest, and what a dataset offers to the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

REAL, FAKE = 0, 1
NATURE = "nature"
"""Subset of real images that serve every generator; reals of one generator alone are ``nature:GENERATOR``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a dataset.

    Attributes:
        path: address within the dataset, ``/``-separated and unique.
        sha256: digest of the file's bytes, hex.
        bytes: size of the file.
        width, height: pixels as stored, before EXIF rotation; 0 where the header can't be read.
        format: sniffed container (``png``, ``jpeg``, ...); ``unknown`` where it can't be told.
        jpeg_quality: estimate from the quantisation tables, 1..100; None for other formats.
        label: 0 real, 1 fake.
        subset: source or generator (``midjourney``, ``nature``, ``nature:midjourney``).
        split: ``train``, ``val`` or ``test``.
        source: what it was made from; samples with one source are one cluster in every interval.
        target: index of its class, for classifiers; None where it has none.
    """

    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    jpeg_quality: int | None
    label: int
    subset: str
    split: str
    source: str
    target: int | None = None


@dataclass(frozen=True, slots=True)
class SubsetInfo:
    """A subset's size within one split."""

    subset: str
    label: int
    split: str
    count: int


class Dataset(Protocol):
    """Images with their manifest. Everything streams; nothing is held per image."""

    name: str
    note: str
    """One sentence a report must carry about the data (empty where there is nothing to say)."""
    ready: bool
    """Whether its images have the size that models take already: they are neither resized nor cropped."""

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest's rows, hex."""
        ...

    def subsets(self) -> list[SubsetInfo]:
        """Return every (subset, split), sorted."""
        ...

    def samples(self, subset: str, split: str, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        """Yield the subset's samples in manifest order; at most ``limit``, chosen by a seeded hash of the path."""
        ...

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes; raises ImageError where it is gone."""
        ...


def reals_for(subset: str, names: set[str]) -> list[str]:
    """Return the real subsets that generator ``subset`` is held against.

    Its own ``nature:SUBSET`` where there is one, else ``nature``, else every ``nature:*`` pooled.
    """
    own = f"{NATURE}:{subset}"
    if own in names:
        return [own]
    if NATURE in names:
        return [NATURE]
    return sorted(name for name in names if name.startswith(f"{NATURE}:"))
