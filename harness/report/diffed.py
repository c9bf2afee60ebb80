"""What came of pairs of images, for people at a terminal: tables of one pair, a line for each of many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import RenderableType
from rich.table import Table

from harness.data.paired import Paired
from harness.diffs import TABLE, Told, in_words

MOST = 20
"""Regions that are told of one pair."""

NAMED = 5
"""Names without a partner that are told of each folder."""


def pair_tables(told: Told) -> Iterator[RenderableType]:
    """Yield a pair's figures, then its regions."""
    figures = Table(box=box.SIMPLE_HEAD)
    moved = dict(zip(("shift right", "shift down"), told.shift, strict=True)) if any(told.shift) else {}
    for name in (*told.figures, *moved):
        figures.add_column(name, justify="right")
    figures.add_row(*(f"{value:.5g}" for value in (*told.figures.values(), *moved.values())))
    yield figures
    if not told.regions:
        yield "No region stands out."
        return
    regions = Table(box=box.SIMPLE_HEAD)
    for name in ("region", "top", "left", "bottom", "right", "area px", "strength"):
        regions.add_column(name, justify="right")
    for number, region in enumerate(told.regions[:MOST], start=1):
        regions.add_row(str(number), *map(str, region.box), f"{region.area:,}", f"{region.strength:.4g}")
    yield regions
    if len(told.regions) > MOST:
        yield f"{len(told.regions) - MOST} weaker regions are in {TABLE}."


def pair_line(told: Told) -> str:
    """Return a pair in one line."""
    if told.error:
        return f"{told.pair.name:<28}  {told.error}"
    count = len(told.regions)
    return f"{told.pair.name:<28}  {in_words(told)}   {count} region{'' if count == 1 else 's'}"


def summary(paired: Paired, failed: int, equal: int) -> Iterator[str]:
    """Yield how many pairs there were, and which names have no partner.

    Args:
        paired: the pairs.
        failed: how many of them could not be compared.
        equal: how many are equal in every pixel.
    """
    total = len(paired.pairs)
    yield f"{total - failed:,} of {total:,} pairs compared, {failed:,} failed, {equal:,} of equal pixels."
    alone: dict[Path, list[str]] = {}
    for name, root in paired.alone:
        alone.setdefault(root, []).append(name)
    for root, names in alone.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        yield f"{len(names):,} only in {root}: {', '.join(names[:NAMED])}{more}"
