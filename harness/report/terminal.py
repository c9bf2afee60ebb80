"""A report for people at a terminal: tables that fit its width, a coloured matrix; every digit is left to the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text as Line

from harness.plain import plain
from harness.report.cells import LONG, best_rows, show, show_spread, show_whole
from harness.report.colour import heat_level, heat_swatch
from harness.report.tree import (
    Block,
    Cell,
    Curves,
    Dendrogram,
    Kind,
    Matrix,
    Pairs,
    Report,
    Scatter,
    Sheet,
    Table,
    Text,
)

Shown = Callable[[Cell, Kind], str]
"""One way to write a cell."""

WAYS: tuple[Shown, ...] = (show_whole, show_spread, show)
"""The ways to write a cell, longest first; a table takes the first that fits."""

NARROWEST, HEADING, STUB = 14, 17, 26
"""Characters to which a column of words, a heading and the labels of rows may be squeezed before a table is parted."""

GUTTER = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading and the cells below it; ``squeeze`` is the width to which cells of words may be folded."""

    title: str
    cells: tuple[Line, ...]
    squeeze: int | None = None

    @property
    def natural(self) -> int:
        """Characters in which no cell is folded."""
        return max((cell.cell_len for cell in self.cells), default=0)

    @property
    def least(self) -> int:
        """Characters that it can't do without."""
        heading = max((cell_len(word) for word in self.title.split()), default=0)
        return max(min(heading, HEADING), self.natural if self.squeeze is None else min(self.natural, self.squeeze))


def print_report(report: Report, console: Console) -> None:
    """Print the report without its details; colour and style appear only where ``console`` writes to a terminal."""
    console.print(_line(report.title, "bold"), _line(report.subtitle, "dim"), sep="\n")
    console.print(_line(report.verdict, "bold green" if report.verdict.startswith("VALID") else "bold red"))
    for note in report.notes:
        console.print(_line(f"! {note}", "yellow"))
    for section in (item for item in report.sections if not item.detail):
        console.print()
        console.print(Rule(_line(section.title, "bold"), align="left", style="dim"))
        if section.intro:
            console.print(_line(section.intro, "dim"))
        for block in section.blocks:
            for part in _block(block, console.width):
                console.print(Padding(part, (1, 0, 0, 0)))


def _block(block: Block, width: int) -> Iterator[RenderableType]:
    match block:
        case Text():
            yield _line(block.body)
        case Table():
            yield from _fitted(block.title, width, lambda shown: _table(block, shown))
            if len(block.rows) > LONG:
                yield _line(f"{len(block.rows) - LONG:,} more rows in tables/{block.name}.csv", "dim")
        case Matrix():
            title = f"{block.title} (* {block.diagonal_title})" if block.diagonal else block.title
            yield from _fitted(title, width, lambda shown: _matrix(block), ways=(show,))
        case Curves():
            yield from _fitted(block.title, width, lambda shown: _curves(block, shown))
        case Dendrogram():
            yield from _fitted(block.title, width, lambda shown: _merges(block, shown), ways=(show,))
        case Scatter():
            points = sum(map(len, block.points.values()))
            yield _line(f"{block.title}: {points:,} points, in pictures/{block.name}.svg", "dim")
        case Sheet():
            yield _line(f"{block.title}: {len(block.tiles)} images, in report.html", "dim")
        case Pairs():
            if block.title:
                yield _line(block.title, "bold")
            grid = Grid.grid(padding=(0, 2))
            grid.add_column(style="dim", max_width=width // 3, overflow="fold")
            grid.add_column(overflow="fold")
            for key, value in block.items:
                grid.add_row(_line(key), _line(value))
            yield grid


def _table(table: Table, shown: Shown) -> list[_Column]:
    columns: list[_Column] = []
    for column in table.columns:
        best = best_rows(column, table.rows)
        cells = [
            _line(shown(row.get(column.key), column.kind), "bold" if i in best else "")
            for i, row in enumerate(table.rows[:LONG])
        ]
        stub = not any(before.squeeze for before in columns)
        squeeze = None if column.kind != "text" else STUB if stub else NARROWEST
        columns.append(_Column(column.title, tuple(cells), squeeze))
    return columns


def _matrix(matrix: Matrix) -> list[_Column]:
    columns = [_Column(matrix.row_title, tuple(map(_line, matrix.row_labels)), STUB)]
    for j, label in enumerate(matrix.column_labels):
        columns.append(_Column(label, tuple(_heat(matrix, i, j) for i in range(len(matrix.row_labels)))))
    return columns


def _heat(matrix: Matrix, row: int, column: int) -> Line:
    value = matrix.values[row][column]
    marked = (row, column) in matrix.diagonal
    text = show(value, matrix.kind) + ("*" if marked else " ")
    if value is None or value.value != value.value:
        return _line(text, "dim")
    swatch = heat_swatch(heat_level(value.value, matrix.low, matrix.high), "light")
    return _line(text, f"{'bold ' if marked else ''}{swatch.ink} on {swatch.fill}")


def _curves(curves: Curves, shown: Shown) -> list[_Column]:
    columns = [_Column(curves.y_title, tuple(map(_line, curves.series)), STUB)]
    for j, label in enumerate(curves.x_labels):
        cells = [_line(shown(values[j], curves.kind)) for values in curves.series.values()]
        columns.append(_Column(label, tuple(cells)))
    return columns


def _merges(tree: Dendrogram, shown: Shown) -> list[_Column]:
    left, right = (
        tuple(_line(" + ".join(side)) for side in sides)
        for sides in ([merge.left for merge in tree.merges], [merge.right for merge in tree.merges])
    )
    figures = tuple(_line(shown(merge.distance, "estimate")) for merge in tree.merges)
    return [_Column("merged", left, STUB), _Column("with", right, STUB), _Column(tree.x_title, figures)]


def _fitted(
    title: str, width: int, columns: Callable[[Shown], list[_Column]], ways: Sequence[Shown] = WAYS
) -> Iterator[Grid]:
    """Yield the table in the fullest way that fits, else in the shortest way parted under its first columns."""
    laid_out: list[_Column] = []
    for shown in ways:
        laid_out = columns(shown)
        if _spare(laid_out, width) >= 0:
            yield _grid(title, laid_out, width)
            return
    stub = next((i + 1 for i, column in enumerate(laid_out) if column.squeeze), 0)
    rest = laid_out[stub:]
    while rest:
        fitting = [n for n in range(1, len(rest) + 1) if _spare(laid_out[:stub] + rest[:n], width) >= 0]
        take = max(fitting, default=1)
        yield _grid(title, laid_out[:stub] + rest[:take], width)
        title, rest = "", rest[take:]


def _spare(columns: Sequence[_Column], width: int) -> int:
    """Return the characters that the columns leave over; negative where they do not fit."""
    return width + GUTTER - sum(column.least + GUTTER for column in columns)


def _grid(title: str, columns: Sequence[_Column], width: int) -> Grid:
    grid = Grid(
        title=_line(title, "italic") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    spare = max(0, _spare(columns, width))
    for column in columns:
        wider = min(spare, max(0, column.natural - column.least))
        spare -= wider
        justify: Literal["left", "right"] = "left" if column.squeeze else "right"
        grid.add_column(_line(column.title), justify=justify, overflow="fold", width=column.least + wider)
    for row in zip(*(column.cells for column in columns), strict=True):
        grid.add_row(*row)
    return grid


def _line(text: str, style: str = "") -> Line:
    """Return text that can hold no markup and no terminal codes."""
    return Line(plain(text), style=style)
