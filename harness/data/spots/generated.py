"""Pairs made of photographs that ship with installed packages, on the fly and the same to the bit on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice

import numpy as np

from harness.data.miniature.photographs import OTHER, PHOTOGRAPHS, Crop, Photograph, crops, load
from harness.data.spots.changes import KINDS, changed, plan, spots
from harness.data.spots.pairs import Pair, Pixels, Split
from harness.errors import DataError, problem
from harness.images.preprocess import Image

VERSION = 1
"""Raised when the pixels change."""

LEAST_SIDE = 96
"""Crops smaller than this have no room for five spots."""

SUBSETS = tuple(sorted((*KINDS, "mixed", "same")))
"""Kinds of change; ``mixed`` has several in one pair, ``same`` none at all."""

POOLS: dict[Split, tuple[Photograph, ...]] = {
    "val": tuple(item for item in PHOTOGRAPHS if item.tier in ("train", "val")),
    "test": (*(item for item in PHOTOGRAPHS if item.tier == "test"), *OTHER),
}
"""The photographs of each split; none is in both."""


class GeneratedPairs:
    """Crops of photographs, and the same crops with changes.

    ``val`` is made of the photographs that the miniature corpus trains and chooses by, ``test`` of those that it tests
    on and of its other pictures; objects are cut from another photograph of the same split. A photograph smaller than
    a crop is left out. Pairs of one subset take the photographs in turn, and the crops of one, which do not overlap.

    Args:
        count: pairs of each subset in each split.
        side: of the crops in pixels.
        seed: of everything that is drawn.

    Raises:
        DataError: a count below 1, or a side that leaves no room for changes or less than two photographs.
    """

    note = (
        "Changes are generated: objects drawn or cut from another photograph, laid over crops of a few photographs. "
        "The intervals, which resample crops, say nothing of other photographs or of changes that people make."
    )

    def __init__(self, count: int, side: int = 192, seed: int = 0) -> None:
        if count < 1:
            raise DataError(problem("generated pairs: count", "1 or more", str(count), "Ask for more"))
        if side < LEAST_SIDE:
            got, do = f"{side} pixels", "Use larger crops"
            raise DataError(problem("generated pairs: side", f"at least {LEAST_SIDE} pixels", got, do))
        self.count, self.side, self.seed = count, side, seed

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arguments, the photographs' pixels and the version of the rules."""
        running = hashlib.sha256(repr((VERSION, self.count, self.side, self.seed)).encode())
        for split, pictures in self._pictures.items():
            for name, picture in pictures.items():
                running.update(f"{split}|{name}|{picture.shape}".encode())
                running.update(picture.tobytes())
        return running.hexdigest()

    def subsets(self, split: Split) -> dict[str, int]:
        """Return the number of pairs of each subset, sorted by its name."""
        return dict.fromkeys(SUBSETS, self.count)

    def pairs(self, subset: str, split: Split, limit: int | None = None) -> Iterator[Pair]:
        """Yield a subset's pairs in their order, the first ``limit`` of them."""
        numbers = range(self.count if subset in SUBSETS else 0)
        for number in islice(numbers, limit):
            name = f"{split}/{subset}/{number:05}"
            yield Pair(name, subset, split, self._crop(split, number).name, spots(plan(self._rng(name), subset)))

    def read(self, pair: Pair) -> Pixels:
        """Make a pair.

        Raises:
            ImageError: ``no_room``: no layout of its changes fits into the crop, which is next to impossible.
        """
        rng = self._rng(pair.name)
        kinds = plan(rng, pair.subset)
        crop = self._crop(pair.split, int(pair.name.rpartition("/")[2]))
        own = crop.name.partition("-")[0]
        others = [picture for name, picture in self._pictures[pair.split].items() if name != own]
        return changed(rng, crop.pixels, others[rng.integers(len(others))], kinds)

    def _rng(self, name: str) -> np.random.Generator:
        said = f"{VERSION}|{self.seed}|{self.side}|{name}"
        return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "big")))

    def _crop(self, split: Split, number: int) -> Crop:
        """Return the crop of a pair: photographs in turn, then the crops of each."""
        of_each = self._crops[split]
        turn, photograph = divmod(number, len(of_each))
        return of_each[photograph][turn % len(of_each[photograph])]

    @cached_property
    def _crops(self) -> dict[Split, list[list[Crop]]]:
        cut = {
            split: [list(crops(replace(item, stride=self.side), self.side)) for item in pool]
            for split, pool in POOLS.items()
        }
        return {split: [found for found in each if found] for split, each in cut.items()}

    @cached_property
    def _pictures(self) -> dict[Split, dict[str, Image]]:
        """The photographs of each split that have a crop."""
        loaded = {split: {item.name: load(item) for item in pool} for split, pool in POOLS.items()}
        large = {
            split: {name: picture for name, picture in pictures.items() if min(picture.shape[:2]) >= self.side}
            for split, pictures in loaded.items()
        }
        for split, pictures in large.items():
            if len(pictures) < 2:
                got = f"{len(pictures)} of {split} for {self.side} pixels"
                raise DataError(problem("generated pairs: side", "two photographs as large", got, "Use smaller crops"))
        return large
