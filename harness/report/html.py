"""A report as one HTML file that needs nothing else: no network, no foreign script, every label escaped."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping

from harness.report.cells import LONG, best_rows, number, show, show_interval
from harness.report.markup import Markup, join, tag
from harness.report.plot import is_wide
from harness.report.style import asset, drawing, style
from harness.report.svg import whisker
from harness.report.tree import (
    Block,
    Cell,
    Column,
    Curves,
    Dendrogram,
    Matrix,
    Pairs,
    Report,
    Scatter,
    Section,
    Sheet,
    Table,
    Text,
)
from harness.stats.intervals import Estimate

SLIM, DENSE = 5, 9
"""Columns up to which a table is as wide as its words and not as the page, and past which it is set tighter."""


def html(report: Report) -> str:
    """Return the report as a whole document.

    A content security policy names the document's own style and script by digest and allows nothing else but pictures
    inside it, so that even a label which slipped through could load or run nothing.
    """
    looks, script = style(), asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(looks)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", report.title),
        tag("style", Markup(looks)),
    )
    body = tag(
        "body",
        _masthead(report),
        _contents(report),
        tag("main", *(_section(place, section) for place, section in enumerate(report.sections))),
        tag("footer", "Every figure in full precision: report.json and tables/*.csv beside this page."),
        tag("script", Markup(script)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _masthead(report: Report) -> Markup:
    valid = report.verdict.startswith("VALID")
    word, _, reasons = report.verdict.partition(":")
    notes = tag("ul", *(tag("li", note) for note in report.notes), class_="notes") if report.notes else ""
    return tag(
        "header",
        tag(
            "div",
            tag(
                "div",
                tag("div", tag("h1", report.title), tag("p", report.subtitle, class_="subtitle")),
                tag("button", "Light / dark", id="scheme", type="button", hidden=True),
                class_="masthead",
            ),
            tag(
                "p",
                tag("span", word.strip(), class_="pill"),
                tag("span", reasons.strip(), class_="reasons"),
                class_="verdict" if valid else "verdict invalid",
            ),
            notes,
        ),
    )


def _contents(report: Report) -> Markup:
    links = (tag("a", section.title, href=f"#section-{place}") for place, section in enumerate(report.sections, 1))
    return tag("nav", tag("div", *links), aria_label="Sections")


def _section(place: int, section: Section) -> Markup:
    blocks = tag("div", *map(_block, section.blocks), class_="blocks")
    return tag("section", tag("h2", section.title), _prose(section.intro, "intro"), blocks, id=f"section-{place + 1}")


def _prose(body: str, class_: str) -> Markup:
    paragraphs = (paragraph.strip() for paragraph in re.split(r"\n\s*\n", body))
    return join(tag("p", paragraph, class_=class_) for paragraph in paragraphs if paragraph)


def _block(block: Block) -> Markup:
    match block:
        case Text():
            return tag("div", _prose(block.body, "prose"))
        case Table():
            return _table(block)
        case Matrix() | Curves() | Dendrogram() | Scatter():
            picture = tag("div", drawing(block), class_="scroll")
            half = isinstance(block, Curves) and not is_wide(block)
            return _figure(block.name, block.title, picture, "card half" if half else "card")
        case Sheet():
            return _sheet(block)
        case Pairs():
            terms = (join([tag("dt", key), tag("dd", value)]) for key, value in block.items)
            heading = tag("h3", block.title) if block.title else ""
            return tag("div", heading, tag("dl", *terms), id=block.name, class_="card")


def _figure(name: str, title: str, content: Markup, class_: str = "card") -> Markup:
    return tag("figure", tag("figcaption", title), content, id=name, class_=class_)


def _sheet(sheet: Sheet) -> Markup:
    tiles = []
    for tile in sheet.tiles:
        source = "data:image/png;base64," + base64.b64encode(tile.image_png).decode()
        caption = tag("figcaption", tile.caption, tag("small", tile.detail) if tile.detail else "")
        tiles.append(tag("figure", tag("img", src=source, alt=tile.caption, loading="lazy"), caption))
    return _figure(sheet.name, sheet.title, tag("div", *tiles, class_="wide sheet" if sheet.wide else "sheet"))


def _table(table: Table) -> Markup:
    """Return the table; a long one is folded, scrolls by itself and draws no intervals."""
    folded = len(table.rows) > LONG
    stub = next((column.key for column in table.columns if column.kind == "text"), None)
    columns = [list(_cells(column, table.rows, column.key == stub, not folded)) for column in table.columns]
    rows = [tag("tr", *cells) for cells in zip(*columns, strict=True)] if columns else []
    heads = (_heading(column, column.key == stub) for column in table.columns)
    caption = "" if folded else tag("caption", table.title)
    grid = tag(
        "table",
        caption,
        tag("thead", tag("tr", *heads)),
        tag("tbody", *rows),
        class_=_width(len(columns)),
    )
    if not folded:
        return tag("div", tag("div", grid, class_="scroll"), id=table.name, class_="card")
    summary = tag("summary", table.title, " ", tag("span", f"{len(table.rows):,} rows"))
    return tag("details", summary, tag("div", grid, class_="scroll long"), id=table.name, class_="card")


def _width(columns: int) -> str | None:
    return "slim" if columns <= SLIM else "dense" if columns > DENSE else None


def _heading(column: Column, stub: bool) -> Markup:
    words = column.kind == "text"
    first = "ascending" if words or column.better == "low" or column.kind == "int" else "descending"
    button = tag("button", column.title, type="button")
    classes = "words stub" if stub else "words" if words else "n"
    return tag("th", button, scope="col", class_=classes, data_first=first)


def _cells(column: Column, rows: tuple[Mapping[str, Cell], ...], stub: bool, drawn: bool) -> Iterator[Markup]:
    best = best_rows(column, rows)
    track = _track(column, rows) if drawn else None
    for place, row in enumerate(rows):
        cell = row.get(column.key)
        classes = ["words" if column.kind == "text" else "n", *(["best"] if place in best else [])]
        if stub:
            yield tag("th", show(cell, column.kind), scope="row", class_="words stub")
        elif column.kind == "text":
            yield tag("td", show(cell, column.kind), class_=" ".join(classes))
        else:
            yield _number(column, cell, classes, track)


def _number(column: Column, cell: Cell, classes: list[str], track: tuple[float, float] | None) -> Markup:
    key = number(cell)
    if key is None:
        classes = [*classes, "missing"]
    parts = [tag("span", show(cell, column.kind), class_="value")]
    bounds = show_interval(cell, column.kind, between="–")
    if isinstance(cell, Estimate) and bounds:
        drawing = whisker(cell.value, cell.low, cell.high, *track) if track else Markup()
        parts += [drawing, tag("span", bounds, class_="bounds")]
    tip = f"n = {cell.n:,}" if isinstance(cell, Estimate) else None
    return tag("td", *parts, class_=" ".join(classes), data_v="" if key is None else repr(key), title=tip)


def _track(column: Column, rows: tuple[Mapping[str, Cell], ...]) -> tuple[float, float] | None:
    """Return the figures at the ends of a column's intervals; None where it has none to draw."""
    cells = [cell for row in rows if isinstance(cell := row.get(column.key), Estimate)]
    bounds = [bound for cell in cells for bound in (cell.low, cell.high) if not math.isnan(bound)]
    return (min(bounds), max(bounds)) if bounds else None
