"""Points as a picture in SVG: one colour and shape a group, named beside them; decides no place."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.colour import SERIES
from harness.report.markup import Markup, coordinate, join, tag
from harness.report.plot import series_class
from harness.report.svg import label, picture
from harness.report.tree import Scatter

SIDE, EDGE, PAD = 560.0, 14.0, 12.0
NAME, LINE = 12.0, 20.0
NAMES = 220.0
"""Pixels for the names; longer ones are shortened."""

SIZE = 3.6
"""Pixels from a mark's middle to its edge."""

SHAPES = (
    "M-1 0A1 1 0 1 1 1 0A1 1 0 1 1 -1 0Z",
    "M-.9 -.9H.9V.9H-.9Z",
    "M0 -1.2L1.1 .8H-1.1Z",
    "M0 -1.3L1.2 0L0 1.3L-1.2 0Z",
)
"""Marks in units of their size: a disc, a square, a triangle and a diamond; the next shape where colours repeat."""


def scatter(block: Scatter) -> Markup:
    """Return the points as one drawing in its natural size, groups in their order, each with its name."""
    groups = list(block.points)
    height = max(SIDE, EDGE + LINE * len(groups)) + 2 * EDGE
    return picture(
        EDGE + SIDE + NAMES + 24,
        height,
        block.title,
        f"{sum(map(len, block.points.values()))} points of {len(groups)} groups: {', '.join(groups)}.",
        tag("rect", x=EDGE, y=EDGE, width=SIDE, height=SIDE, class_="frame"),
        join(_groups(block)),
        class_="scatter",
    )


def _groups(block: Scatter) -> Iterator[Markup]:
    places = _Places(block)
    for index, (name, points) in enumerate(block.points.items()):
        shape = SHAPES[index // len(SERIES["light"]) % len(SHAPES)]
        y = 2 * EDGE + LINE * index
        yield tag(
            "g",
            tag("title", f"{name}, {len(points):,} points"),
            *(_mark(shape, *places.of(x, y), SIZE) for x, y in points),
            _mark(shape, 2 * EDGE + SIDE, y, 1.3 * SIZE),
            label(2 * EDGE + SIDE + 12, y + 4, name, NAME, NAMES - 12, class_="series-name"),
            class_=f"series {series_class(index)}",
        )


class _Places:
    """From the points' own numbers to pixels, alike along both axes."""

    def __init__(self, block: Scatter) -> None:
        xs, ys = ([point[axis] for points in block.points.values() for point in points] or [0.0] for axis in (0, 1))
        self.x, self.y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
        self.scale = (SIDE - 2 * PAD) / (max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0)

    def of(self, x: float, y: float) -> tuple[float, float]:
        middle = EDGE + SIDE / 2
        return middle + self.scale * (x - self.x), middle - self.scale * (y - self.y)


def _mark(shape: str, x: float, y: float, size: float) -> Markup:
    move = f"translate({coordinate(x)} {coordinate(y)}) scale({coordinate(size)})"
    return tag("path", d=shape, transform=move, class_="spot")
