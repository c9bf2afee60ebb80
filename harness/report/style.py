"""How reports look: the style of the document, and of a picture that stands alone."""

from __future__ import annotations

from functools import cache
from importlib import resources

from harness.report.colour import LEVELS, SERIES, heat_swatch
from harness.report.dendrogram import dendrogram
from harness.report.heatmap import heatmap, level_class
from harness.report.markup import Markup, tag
from harness.report.plot import plot, series_class
from harness.report.scatter import scatter
from harness.report.tree import Curves, Dendrogram, Matrix, Picture, Scatter

ALONE = "svg{font-family:var(--sans);background:var(--sheet)}"
"""What a picture has of the document around it."""


@cache
def style() -> str:
    """Return the style rules of a document."""
    return asset("report.css") + _colours()


def asset(name: str) -> str:
    """Return a file that ships with the report."""
    return (resources.files("harness.report") / "assets" / name).read_text(encoding="utf-8")


def drawing(block: Picture) -> Markup:
    """Return a block as a picture in its natural size."""
    match block:
        case Matrix():
            return heatmap(block)
        case Curves():
            return plot(block)
        case Dendrogram():
            return dendrogram(block)
        case Scatter():
            return scatter(block)


def alone(picture: Markup) -> str:
    """Return a picture as an SVG file of its own, which brings its style."""
    start, end, rest = picture.partition(">")
    return start + end + tag("style", Markup(style() + ALONE)) + rest + "\n"


def _colours() -> str:
    """Return the style rules of the heat map's steps and of the curves; the first fill is for browsers before 2024."""
    rules = []
    for level in range(-LEVELS // 2, LEVELS + 1):
        light, dark = heat_swatch(level, "light"), heat_swatch(level, "dark")
        name = level_class(level)
        rules.append(f".{name}>rect{{fill:{light.fill};fill:light-dark({light.fill},{dark.fill})}}")
        rules.append(f"svg .{name}>text{{fill:{light.ink};fill:light-dark({light.ink},{dark.ink})}}")
    for index, (bright, dim) in enumerate(zip(SERIES["light"], SERIES["dark"], strict=True)):
        rules.append(f".{series_class(index)}{{color:{bright};color:light-dark({bright},{dim})}}")
    return "\n".join(rules) + "\n"
