"""A hierarchy as a tree in SVG: leaves in a column, distances to the right; computes no cluster."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.cells import show
from harness.report.markup import Markup, coordinate, join, tag
from harness.report.svg import label, picture, text_width, ticks
from harness.report.tree import Dendrogram

ROW, TOP = 30.0, 14.0
LABEL, TICK = 12.5, 11.0
MOST_LABEL = 210.0
"""Pixels after which a leaf's label is shortened."""

BREADTH = 620.0
"""Pixels from a distance of 0 to the last tick."""


def dendrogram(tree: Dendrogram) -> Markup:
    """Return the tree as one drawing in its natural size."""
    left = 14 + min(MOST_LABEL, max((text_width(name, LABEL) for name in tree.leaves), default=0.0)) + 10
    marks = ticks(0.0, max((merge.distance for merge in tree.merges), default=0.0))
    bottom = TOP + ROW * len(tree.leaves)
    scale = BREADTH / marks[-1]
    return picture(
        left + BREADTH + 30,
        bottom + 50,
        tree.title,
        f"{len(tree.leaves)} leaves joined by {tree.x_title}, the nearest first.",
        join(_axis(tree, left, scale, bottom, marks)),
        join(_leaves(tree, left)),
        join(_branches(tree, left, scale)),
        class_="dendrogram",
    )


def _axis(tree: Dendrogram, left: float, scale: float, bottom: float, marks: list[float]) -> Iterator[Markup]:
    for mark in marks:
        x = left + scale * mark
        yield tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="gridline")
        yield label(x, bottom + 17, show(mark, "estimate"), TICK, text_anchor="middle", class_="tick")
    x = left + BREADTH / 2
    yield label(x, bottom + 38, tree.x_title, TICK, text_anchor="middle", class_="axis-title")


def _leaves(tree: Dendrogram, left: float) -> Iterator[Markup]:
    for place, name in enumerate(tree.leaves):
        y = TOP + ROW * (place + 0.5)
        yield label(left - 10, y + 4, name, LABEL, MOST_LABEL, text_anchor="end", class_="name")


def _branches(tree: Dendrogram, left: float, scale: float) -> Iterator[Markup]:
    """Yield one bracket a merge: from where its groups were joined to its distance, and down between them."""
    ends: dict[tuple[str, ...], tuple[float, float]]
    ends = {(name,): (left, TOP + ROW * (place + 0.5)) for place, name in enumerate(tree.leaves)}
    for merge in tree.merges:
        (x1, y1), (x2, y2) = ends.pop(merge.left), ends.pop(merge.right)
        x = left + scale * merge.distance
        ends[merge.left + merge.right] = (x, (y1 + y2) / 2)
        path = f"M{_point(x1, y1)}L{_point(x, y1)}L{_point(x, y2)}L{_point(x2, y2)}"
        sides = " and ".join(" + ".join(side) for side in (merge.left, merge.right))
        words = tag("title", f"{sides}: {show(merge.distance, 'estimate')}")
        halo, line = (tag("path", d=path, class_=name) for name in ("halo", "branch"))
        yield tag("g", words, halo, line, class_="merge")


def _point(x: float, y: float) -> str:
    return f"{coordinate(x)} {coordinate(y)}"
