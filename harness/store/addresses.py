"""Reads the names under which run.json keeps cells: which task asked whom about what. Opens no file."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PAIR = " -> "


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cell stands in its run.

    Attributes:
        task: its name in the suite.
        model: who was asked; of a search both, as ``WHITE -> BLACK``; of differences the method that drew the maps.
        subset, split: about which images; None for a load.
        degradation: canonical id; None for a search, which begins from clean images, and for a load.
        method: the searcher of a search, the shape of a load; None elsewhere.
        batch: images a request; None where the name does not tell.
    """

    task: str
    model: str
    subset: str | None = None
    split: str | None = None
    degradation: str | None = None
    method: str | None = None
    batch: int | None = None


def read_address(name: str) -> Address | None:
    """Return what a cell's name says; None for names of other things, such as a file that a task reads."""
    parts = name.split("/")
    batch = int(parts.pop().removeprefix("batch ")) if re.fullmatch(r"batch \d+", parts[-1]) else None
    match parts:
        case [task, model, method]:
            return Address(task, model, method=method, batch=batch)
        case [task, model, method, *subset, split] if _PAIR in model and subset:
            return Address(task, model, "/".join(subset), split, method=method, batch=batch)
        case [task, model, *subset, split, degradation] if subset:
            return Address(task, model, "/".join(subset), split, degradation, batch=batch)
    return None
