"""Gives the images of a listing without splits of its own to train, val and test. Opens no image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.data.layouts import Found
from harness.errors import DataError, problem
from harness.spec.suite import Splits


def assign(name: str, found: Iterable[Found], shares: Splits) -> Iterator[Found]:
    """Yield a listing's images, each in the split that a hash of its source says.

    Images of one source stay together, and an image stays where it is however many others come or go.

    Args:
        name: of the data set.
        found: its images; one split alone counts as none.
        shares: of the sources, for each split.

    Raises:
        DataError: the listing has splits of its own.
    """
    own: str | None = None
    for item in found:
        own = own or item.split
        if item.split != own:
            what, got = f"data {name}: splits", f"{item.path} in {item.split} and others in {own}"
            raise DataError(problem(what, "a listing without splits of its own", got, "Leave `splits` out"))
        yield replace(item, split=split_of(item.source, shares))


def split_of(source: str, shares: Splits) -> str:
    """Return the split of a source."""
    place = int.from_bytes(hashlib.sha256(f"split|{source}".encode()).digest()[:8], "big") / 2**64
    return "train" if place < shares.train else "val" if place < shares.train + shares.val else "test"
