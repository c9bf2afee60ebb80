"""A matrix as a heat map in SVG: figures readable on every fill, marked cells outlined, the scale beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.report.cells import DASH, show, show_interval, show_whole
from harness.report.colour import LEVELS, heat_level
from harness.report.markup import Markup, coordinate, join, tag
from harness.report.svg import label, picture, text_width
from harness.report.tree import Matrix
from harness.stats.intervals import Estimate

PAGE = 1120.0
"""Width that labels and cells grow to fill, within bounds."""

NARROW, BROAD, ROW, GAP = 66.0, 104.0, 46.0, 3.0
LABEL = 12.5
MOST_LABEL = 210.0
"""Pixels after which a label is shortened."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the cells start, and how wide each is."""

    left: float
    top: float
    cell: float
    slanted: bool

    def x(self, column: float) -> float:
        return self.left + self.cell * column

    def y(self, row: float) -> float:
        return self.top + ROW * row


def heatmap(matrix: Matrix) -> Markup:
    """Return the matrix as one drawing in its natural size."""
    frame = _frame(matrix)
    last = 0.8 * _room(matrix.column_labels[-1:]) if frame.slanted else 0.0
    width = max(frame.x(len(matrix.column_labels)) + 4, frame.x(len(matrix.column_labels) - 0.5) + last)
    height = frame.y(len(matrix.row_labels))
    return picture(
        max(width, frame.left + 480),
        height + 52,
        matrix.title,
        _description(matrix),
        _titles(matrix, frame),
        join(_column_labels(matrix, frame)),
        join(_row_labels(matrix, frame)),
        join(_cells(matrix, frame)),
        _scale(matrix, frame.left, height + 20),
        class_="heatmap",
    )


def _frame(matrix: Matrix) -> _Frame:
    left = 14 + _room((*matrix.row_labels, matrix.row_title))
    cell = min(BROAD, max(NARROW, (PAGE - left) / max(1, len(matrix.column_labels))))
    widest = _room(matrix.column_labels)
    slanted = widest > cell - 8
    head = widest * math.sin(math.radians(38)) + 18 if slanted else 24.0
    return _Frame(left, head + (20 if matrix.column_title else 2), cell, slanted)


def _room(labels: Sequence[str]) -> float:
    """Return the pixels that the widest label takes."""
    return min(MOST_LABEL, max((text_width(name, LABEL) for name in labels), default=0.0))


def _description(matrix: Matrix) -> str:
    rows, columns = len(matrix.row_labels), len(matrix.column_labels)
    words = f"{rows} rows ({matrix.row_title or 'rows'}) by {columns} columns ({matrix.column_title or 'columns'})."
    return f"{words} Outlined: {matrix.diagonal_title}." if matrix.diagonal else words


def _titles(matrix: Matrix, frame: _Frame) -> Markup:
    x, y = frame.left - 10, frame.top - 8
    rows = label(x, y, matrix.row_title, 11, x, text_anchor="end", class_="axis-title")
    return join([rows, label(frame.left + GAP, 12, matrix.column_title, 11, class_="axis-title")])


def _column_labels(matrix: Matrix, frame: _Frame) -> Iterator[Markup]:
    for j, name in enumerate(matrix.column_labels):
        x, y = frame.x(j + 0.5), frame.top - 8
        if frame.slanted:
            turn = f"rotate(-38 {coordinate(x)} {coordinate(y)})"
            yield label(x, y, name, LABEL, MOST_LABEL, transform=turn, class_="name")
        else:
            yield label(x, y, name, LABEL, text_anchor="middle", class_="name")


def _row_labels(matrix: Matrix, frame: _Frame) -> Iterator[Markup]:
    for i, name in enumerate(matrix.row_labels):
        yield label(frame.left - 10, frame.y(i + 0.5) + 4, name, LABEL, MOST_LABEL, text_anchor="end", class_="name")


def _cells(matrix: Matrix, frame: _Frame) -> Iterator[Markup]:
    for i, values in enumerate(matrix.values):
        for j, value in enumerate(values):
            yield _cell(matrix, i, j, value, frame)
    for i, j in sorted(matrix.diagonal):
        yield _box(frame, i, j, 0.75, rx=5, class_="mark")


def _cell(matrix: Matrix, row: int, column: int, value: Estimate | None, frame: _Frame) -> Markup:
    where = f"{matrix.row_labels[row]}, {matrix.column_labels[column]}"
    x, y = frame.x(column + 0.5), frame.y(row + 0.5)
    box = _box(frame, row, column, GAP / 2, rx=4)
    if value is None or math.isnan(value.value):
        words = tag("title", f"{where}: not measured")
        return tag("g", words, box, tag("text", DASH, x=x, y=y + 4, class_="value"), class_="cell none")
    mark = f" ({matrix.diagonal_title})" if (row, column) in matrix.diagonal else ""
    words = tag("title", f"{where}{mark}: {show_whole(value, matrix.kind)}, n = {value.n:,}")
    bounds = show_interval(value, matrix.kind, between="–")
    figure = tag("text", show(value, matrix.kind), x=x, y=y + (0 if bounds else 5), class_="value")
    interval = tag("text", bounds, x=x, y=y + 13, class_="bounds") if bounds else ""
    level = heat_level(value.value, matrix.low, matrix.high)
    return tag("g", words, box, figure, interval, class_=f"cell {level_class(level)}")


def _box(frame: _Frame, row: int, column: int, inset: float, rx: float, class_: str | None = None) -> Markup:
    x, y, width, height = frame.x(column) + inset, frame.y(row) + inset, frame.cell - 2 * inset, ROW - 2 * inset
    return tag("rect", x=x, y=y, width=width, height=height, rx=rx, class_=class_)


def _scale(matrix: Matrix, left: float, y: float) -> Markup:
    """Return the colour scale, its part below chance only where a figure lies there, and the mark's meaning."""
    known = [value.value for row in matrix.values for value in row if value is not None]
    levels = [heat_level(value, matrix.low, matrix.high) for value in known if not math.isnan(value)]
    first = -LEVELS // 2 if min(levels, default=0) < 0 else 0
    step = 7.0
    bars = [
        tag(
            "g",
            tag("rect", x=left + GAP + step * place, y=y, width=step + 0.5, height=10),
            class_=f"cell {level_class(level)}",
        )
        for place, level in enumerate(range(first, LEVELS + 1))
    ]
    marks = []
    for level in (first, 0, LEVELS // 2, LEVELS):
        figure = matrix.low + (matrix.high - matrix.low) * level / LEVELS
        sign = "≤ " if level == first < 0 else ""
        x = left + GAP + step * (level - first + 0.5)
        marks.append(label(x, y + 23, sign + show(figure, matrix.kind), 10, text_anchor="middle", class_="tick"))
    if matrix.diagonal:
        x = left + GAP + step * (LEVELS + 1 - first) + 26
        marks.append(tag("rect", x=x, y=y - 2, width=18, height=13, rx=3, class_="mark"))
        marks.append(label(x + 25, y + 9, matrix.diagonal_title, 11, 320, class_="tick"))
    return tag("g", join(bars), join(dict.fromkeys(marks)), class_="scale")


def level_class(level: int) -> str:
    """Return the class that colours a step of the scale: ``h12``, ``hm3`` below chance."""
    return f"h{level}" if level >= 0 else f"hm{-level}"
