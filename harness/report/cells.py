"""How single figures and labels read, the same in every rendering; knows no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from harness.plain import plain
from harness.report.tree import Cell, Column, Kind
from harness.stats.intervals import Estimate

DASH = "–"
LONG = 40
"""Rows after which a table is for machines: a page folds it, a terminal and Markdown point to its CSV."""


def show(cell: Cell, kind: Kind) -> str:
    """Return a cell's text without its interval."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return DASH
    if isinstance(cell, Estimate):
        return show(cell.value, kind)
    if isinstance(cell, str):
        return plain(cell)
    match kind:
        case "int":
            return f"{cell:,.0f}"
        case "percent":
            return f"{100 * cell:.1f}%"
        case "estimate":
            return f"{cell:.3f}"
        case "bytes":
            return _scaled(cell, 1000, ("B", "kB", "MB", "GB", "TB"))
        case "seconds":
            return _duration(cell)
        case "float":
            return f"{cell:.4g}"
    return plain(str(cell))


def show_interval(cell: Cell, kind: Kind, between: str = ", ") -> str:
    """Return an estimate's bounds, as ``0.981, 0.992``; empty for what has none."""
    if not isinstance(cell, Estimate) or math.isnan(cell.low) or math.isnan(cell.high):
        return ""
    return f"{show(cell.low, kind).rstrip('%')}{between}{show(cell.high, kind).rstrip('%')}"


def show_whole(cell: Cell, kind: Kind) -> str:
    """Return a cell's text with its interval, as ``0.987 [0.981, 0.992]``."""
    bounds = show_interval(cell, kind)
    return f"{show(cell, kind)} [{bounds}]" if bounds else show(cell, kind)


def show_spread(cell: Cell, kind: Kind) -> str:
    """Return a cell's text with half its interval's width, as ``0.987 ±0.006``."""
    if not show_interval(cell, kind) or not isinstance(cell, Estimate):
        return show(cell, kind)
    return f"{show(cell, kind)} ±{show((cell.high - cell.low) / 2, kind).rstrip('%')}"


def number(cell: Cell) -> float | None:
    """Return what a cell is sorted by; None where it is no number."""
    value = cell.value if isinstance(cell, Estimate) else cell
    return None if value is None or isinstance(value, str) or math.isnan(value) else float(value)


def best_rows(column: Column, rows: Iterable[Mapping[str, Cell]]) -> set[int]:
    """Return the rows that hold the column's best figure; none where nothing is better or all are equal."""
    known = {i: value for i, row in enumerate(rows) if (value := number(row.get(column.key))) is not None}
    if column.better is None or len(set(known.values())) < 2:
        return set()
    best = (max if column.better == "high" else min)(known.values())
    return {i for i, value in known.items() if value == best}


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    return f"{value:.3g} {units[power]}" if power else f"{value:.0f} {units[power]}"


def _duration(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{1000 * seconds:.3g} ms"
    if abs(seconds) < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
