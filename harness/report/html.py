"""A report as one HTML file that needs nothing else: no network, no foreign script, every label escaped."""

from __future__ import annotations

import base64

from harness.report.html_table import table_card
from harness.report.markup import Markup, join, tag
from harness.report.page import contents, masthead, page, prose, section, verdict_line
from harness.report.plot import is_wide
from harness.report.style import drawing
from harness.report.tree import Block, Curves, Dendrogram, Matrix, Pairs, Report, Scatter, Sheet, Table, Text


def html(report: Report) -> str:
    """Return the report as a whole document."""
    notes = tag("ul", *(tag("li", note) for note in report.notes), class_="notes") if report.notes else ""
    sections = (
        section(place, part.title, part.intro, map(block_card, part.blocks))
        for place, part in enumerate(report.sections, 1)
    )
    return page(
        report.title,
        masthead(report.title, report.subtitle, verdict_line(report.verdict), notes),
        contents(part.title for part in report.sections),
        tag("main", *sections),
        tag("footer", "Every figure in full precision: report.json and tables/*.csv beside this page."),
    )


def block_card(block: Block) -> Markup:
    """Return a block in its frame."""
    match block:
        case Text():
            return tag("div", prose(block.body, "prose"))
        case Table():
            return table_card(block)
        case Matrix() | Curves() | Dendrogram() | Scatter():
            half = isinstance(block, Curves) and not is_wide(block)
            picture = tag(
                "div", drawing(block), class_="scroll", tabindex="0", role="group", aria_label=f"Picture: {block.title}"
            )
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
