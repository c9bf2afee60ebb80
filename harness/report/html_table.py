"""Tables of a report as HTML that a page's script sorts and filters; without it they are plain tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.report.cells import LONG, best_rows, number, show, show_interval
from harness.report.markup import Markup, tag
from harness.report.svg import whisker
from harness.report.tree import Cell, Column, Kind, Table
from harness.stats.intervals import Estimate

SLIM, DENSE = 5, 9
"""Columns up to which a table is as wide as its words and not as the page, and past which it is set tighter."""


def table_card(table: Table) -> Markup:
    """Return the table in its frame; a long one is folded, scrolls by itself and draws no intervals."""
    folded = len(table.rows) > LONG
    stub = next((column.key for column in table.columns if column.kind == "text"), None)
    columns = [list(_cells(column, table.rows, column.key == stub, not folded)) for column in table.columns]
    rows = [tag("tr", *cells) for cells in zip(*columns, strict=True)] if columns else []
    heads = [heading(column, column.key == stub) for column in table.columns]
    if not folded:
        framed = tag("div", grid(heads, rows, tag("caption", table.title)), class_="scroll")
        return tag("div", framed, id=table.name, class_="card")
    summary = tag("summary", table.title, " ", tag("span", f"{len(table.rows):,} rows"))
    return tag("details", summary, tag("div", grid(heads, rows), class_="scroll long"), id=table.name, class_="card")


def grid(heads: Sequence[str], rows: Sequence[str], caption: str = "") -> Markup:
    """Return a table of finished headings and rows."""
    width = "slim" if len(heads) <= SLIM else "dense" if len(heads) > DENSE else None
    return tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_=width)


def heading(column: Column, stub: bool = False) -> Markup:
    """Return a column's heading, a button that sorts by it; the ``stub`` names the rows."""
    words = column.kind == "text"
    first = "ascending" if words or column.better == "low" or column.kind == "int" else "descending"
    button = tag("button", column.title, type="button", aria_label=None if column.title else column.key)
    classes = "words stub" if stub else "words" if words else "n"
    return tag("th", button, scope="col", class_=classes, data_first=first)


def words_cell(content: str, stub: bool = False, best: bool = False) -> Markup:
    """Return a cell of words; the ``stub`` is its row's name."""
    if stub:
        return tag("th", content, scope="row", class_="words stub")
    return tag("td", content, class_="words best" if best else "words")


def number_cell(cell: Cell, kind: Kind, best: bool = False, track: tuple[float, float] | None = None) -> Markup:
    """Return a cell of a figure, which sorts by its full value.

    Args:
        cell: the figure.
        kind: how it reads.
        best: whether it is the best of its column.
        track: figures at the two ends of its column's drawing; None draws nothing.
    """
    key = number(cell)
    classes = ["n", *(["best"] if best else []), *(["missing"] if key is None else [])]
    parts: list[str] = [tag("span", show(cell, kind), class_="value")]
    bounds = show_interval(cell, kind, between="–")
    if isinstance(cell, Estimate) and bounds:
        drawing = whisker(cell.value, cell.low, cell.high, *track) if track else Markup()
        parts += [drawing, " ", tag("span", bounds, class_="bounds")]
    tip = f"n = {cell.n:,}" if isinstance(cell, Estimate) else None
    return tag("td", *parts, class_=" ".join(classes), data_v="" if key is None else repr(key), title=tip)


def _cells(column: Column, rows: tuple[Mapping[str, Cell], ...], stub: bool, drawn: bool) -> Iterator[Markup]:
    best = best_rows(column, rows)
    track = _track(column, rows) if drawn else None
    for place, row in enumerate(rows):
        cell = row.get(column.key)
        if column.kind == "text":
            yield words_cell(show(cell, column.kind), stub, place in best)
        else:
            yield number_cell(cell, column.kind, place in best, track)


def _track(column: Column, rows: tuple[Mapping[str, Cell], ...]) -> tuple[float, float] | None:
    """Return the figures at the ends of a column's intervals; None where it has none to draw."""
    cells = [cell for row in rows if isinstance(cell := row.get(column.key), Estimate)]
    bounds = [bound for cell in cells for bound in (cell.low, cell.high) if not math.isnan(bound)]
    return (min(bounds), max(bounds)) if bounds else None
