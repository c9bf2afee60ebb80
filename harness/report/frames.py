"""A report's tables, matrices, curves, trees and points as tidy data frames at full precision; rounds nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from harness.report.tree import Block, Cell, Column, Curves, Dendrogram, Matrix, Scatter, Table
from harness.stats.intervals import Estimate

Row = dict[str, str | int | float | None]


def frame(block: Block) -> pd.DataFrame | None:
    """Return a block's figures, one column a value; None for a block that holds no table.

    An estimate becomes its value under the column's key and ``_low``, ``_high`` and ``_n`` beside it. A matrix has one
    row a cell (``row``, ``column``, ``marked``, the figure), curves one row a point (``series``, ``x``, the figure), a
    dendrogram one row a merge (``left``, ``right``, ``distance``), a scatter one a point (``series``, ``x``, ``y``).
    """
    match block:
        case Table():
            wide = {column.key for column in block.columns if _has_estimates(column, block.rows)}
            rows = [_row(block.columns, wide, row) for row in block.rows]
            keys = [key for column in block.columns for key in _keys(column.key, column.key in wide)]
        case Matrix():
            rows = list(_matrix_rows(block))
            keys = ["row", "column", "marked", *_keys("value", True)]
        case Curves():
            rows = [
                {"series": name, "x": x, **_spread("value", value)}
                for name, values in block.series.items()
                for x, value in zip(block.x_labels, values, strict=True)
            ]
            keys = ["series", "x", *_keys("value", True)]
        case Dendrogram():
            rows = [
                {"left": " + ".join(merge.left), "right": " + ".join(merge.right), "distance": merge.distance}
                for merge in block.merges
            ]
            keys = ["left", "right", "distance"]
        case Scatter():
            rows = [{"series": name, "x": x, "y": y} for name, points in block.points.items() for x, y in points]
            keys = ["series", "x", "y"]
        case _:
            return None
    return pd.DataFrame(rows, columns=keys, dtype=object)


def csv(table: pd.DataFrame) -> str:
    """Return the frame as CSV: shortest exact numbers, nothing for what is missing, line feeds."""
    return table.to_csv(index=False, lineterminator="\n")


def _row(columns: tuple[Column, ...], wide: set[str], row: Mapping[str, Cell]) -> Row:
    cells: Row = {}
    for column in columns:
        value = row.get(column.key)
        if column.key in wide:
            cells |= _spread(column.key, value)
        elif not isinstance(value, Estimate):
            cells[column.key] = value
    return cells


def _matrix_rows(matrix: Matrix) -> Iterator[Row]:
    for i, (label, values) in enumerate(zip(matrix.row_labels, matrix.values, strict=True)):
        for j, value in enumerate(values):
            marked = int((i, j) in matrix.diagonal)
            yield {"row": label, "column": matrix.column_labels[j], "marked": marked, **_spread("value", value)}


def _has_estimates(column: Column, rows: tuple[Mapping[str, Cell], ...]) -> bool:
    return column.kind == "estimate" or any(isinstance(row.get(column.key), Estimate) for row in rows)


def _keys(key: str, wide: bool) -> list[str]:
    return [key, f"{key}_low", f"{key}_high", f"{key}_n"] if wide else [key]


def _spread(key: str, value: Cell) -> Row:
    """Return the four columns of an estimate; a bare number has no interval."""
    parts: tuple[str | int | float | None, ...]
    parts = (value.value, value.low, value.high, value.n) if isinstance(value, Estimate) else (value, None, None, None)
    known = [None if isinstance(part, float) and math.isnan(part) else part for part in parts]
    return dict(zip(_keys(key, True), known, strict=True))
