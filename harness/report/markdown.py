"""A report as GitHub-flavoured Markdown; text only, so image sheets become lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from harness.plain import plain
from harness.report.cells import LONG, best_rows, show, show_whole
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

_INLINE = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_LEADING = re.compile(r"^(\d*)([-+#=.)])(?=[\s#=-]|$)")


def markdown(report: Report) -> str:
    """Return the report as one Markdown document."""
    parts = [f"# {escape(report.title)}", escape(report.subtitle), f"**{escape(report.verdict)}**"]
    parts += [f"> {escape(note)}" for note in report.notes]
    for section in report.sections:
        parts += [f"## {escape(section.title)}", _prose(section.intro)]
        for block in section.blocks:
            parts += _block(block)
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return ``text`` on one line so that Markdown shows it as it is: no markup, no HTML, no links, no table cells."""
    line = " ".join(plain(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LEADING.sub(r"\1\\\2", _INLINE.sub(r"\\\g<0>", line))


def _prose(body: str) -> str:
    return "\n\n".join(escape(paragraph) for paragraph in re.split(r"\n\s*\n", body))


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield _prose(block.body)
        case Table():
            yield from _table(block)
        case Matrix():
            yield from _matrix(block)
        case Curves():
            yield f"### {escape(block.title)}"
            rows = [
                [escape(name), *(show_whole(value, block.kind) for value in values)]
                for name, values in block.series.items()
            ]
            yield _grid([block.y_title, *block.x_labels], rows, "left")
        case Dendrogram():
            yield f"### {escape(block.title)}"
            rows = [
                [escape(" + ".join(merge.left)), escape(" + ".join(merge.right)), show(merge.distance, "estimate")]
                for merge in block.merges
            ]
            yield _grid(["merged", "with", block.x_title], rows, "left", "left")
        case Scatter():
            yield f"### {escape(block.title)}"
            rows = [[escape(name), f"{len(points):,}"] for name, points in block.points.items()]
            yield _grid(["points of", "how many"], rows, "left")
            yield f"Drawn in `pictures/{block.name}.svg`; where they lie is in `tables/{block.name}.csv`."
        case Sheet():
            yield f"### {escape(block.title)}"
            captions = (": ".join(filter(None, (tile.caption, tile.detail))) for tile in block.tiles)
            yield "\n".join(f"- {escape(caption)}" for caption in captions)
        case Pairs():
            if block.title:
                yield f"### {escape(block.title)}"
            yield _grid(["", ""], [[escape(key), escape(value)] for key, value in block.items], "left", "left")


def _table(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}"
    rows = [[_cell(row.get(column.key), column.kind) for column in table.columns] for row in table.rows]
    for place, column in enumerate(table.columns):
        for row in best_rows(column, table.rows):
            rows[row][place] = f"**{rows[row][place]}**"
    aligned = ["left" if column.kind == "text" else "right" for column in table.columns]
    yield _grid([column.title for column in table.columns], rows[:LONG], *aligned)
    if len(rows) > LONG:
        yield f"{len(rows) - LONG:,} more rows in `tables/{table.name}.csv`."


def _matrix(matrix: Matrix) -> Iterator[str]:
    yield f"### {escape(matrix.title)}"
    rows = []
    for i, (label, values) in enumerate(zip(matrix.row_labels, matrix.values, strict=True)):
        shown = [show_whole(value, matrix.kind) for value in values]
        marked = [f"**{cell}**" if (i, j) in matrix.diagonal else cell for j, cell in enumerate(shown)]
        rows.append([escape(label), *marked])
    corner = " \\ ".join(title for title in (matrix.row_title, matrix.column_title) if title)
    yield _grid([corner, *matrix.column_labels], rows, "left")
    if matrix.diagonal:
        yield f"Bold: {escape(matrix.diagonal_title)}."


def _cell(cell: Cell, kind: Kind) -> str:
    return escape(cell) if isinstance(cell, str) else show_whole(cell, kind)


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]], *aligned: str) -> str:
    """Return a table; ``rows`` are Markdown already, ``titles`` are not; columns past ``aligned`` lie right."""
    sides = [*aligned, *["right"] * (len(titles) - len(aligned))]
    headings = [escape(title) for title in titles]
    return tabulate(rows, headers=headings, tablefmt="github", disable_numparse=True, colalign=sides if rows else None)
