"""What a set of picture pairs with known changes offers; makes and reads none itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.images.preprocess import Image

Split = Literal["val", "test"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one scene.

    Attributes:
        name: address within the set, unique.
        subset: kind of change.
        split: ``val`` to choose a method by, ``test`` to measure it on.
        source: what the pair was made from; pairs with one source are one cluster in every interval.
        spots: number of true changes; None where only its pixels tell.
    """

    name: str
    subset: str
    split: Split
    source: str
    spots: int | None


class Pixels(NamedTuple):
    """A pair's pictures and where they differ.

    Attributes:
        a, b: uint8 RGB, (height, width, 3) both.
        truth: int32 (height, width): 0 where nothing changed, k on the k-th spot.
    """

    a: Image
    b: Image
    truth: NDArray[np.int32]


class PairSet(Protocol):
    """Pairs with their truth. Pixels are read one pair at a time."""

    note: str
    """What a report must say of the pairs (empty where there is nothing to say)."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything that the pixels depend on, hex."""
        ...

    def subsets(self, split: Split) -> dict[str, int]:
        """Return the number of pairs of each subset, sorted by its name."""
        ...

    def pairs(self, subset: str, split: Split, limit: int | None = None) -> Iterator[Pair]:
        """Yield a subset's pairs in their order, the first ``limit`` of them."""
        ...

    def read(self, pair: Pair) -> Pixels:
        """Return a pair's pictures and truth; raises ImageError where they can't be had."""
        ...
