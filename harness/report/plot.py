"""Curves as a line plot in SVG: intervals as bands, lines named at their ends; draws no legend it can do without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from harness.report.cells import show, show_whole
from harness.report.colour import SERIES
from harness.report.markup import Markup, coordinate, join, tag
from harness.report.svg import label, picture, spread_out, text_width, ticks
from harness.report.tree import Curves
from harness.stats.intervals import Estimate

NAME, TICK = 11.5, 11.0
LINE = 14.0
SLANTED = 240.0
"""Pixels after which a slanted label is shortened."""

SLOPE = 0.71
"""Sine, and cosine, of the slant."""

DASHES = ("", "7 4", "2 4", "9 3 2 3")
BANDS = 6
"""Lines up to which every band is drawn; past it a band shows when its line is pointed at."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot's area in pixels and the figures at its lower and upper edge."""

    left: float
    top: float
    right: float
    bottom: float
    low: float
    high: float
    count: int

    def x(self, place: int) -> float:
        return self.left + (self.right - self.left) * (place + 0.5) / self.count

    def y(self, figure: float) -> float:
        share = (figure - self.low) / ((self.high - self.low) or 1.0)
        return self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, share))


@dataclass(frozen=True, slots=True)
class _Below:
    """Labels under the axis: words on lines of their own where every word fits, else slanted."""

    labels: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    slanted: float

    @classmethod
    def of(cls, labels: tuple[str, ...], room: float, slanted: float) -> _Below:
        lines = tuple(_wrap(name, room) for name in labels)
        fits = all(len(rows) <= 3 and text_width(row, TICK) <= room for rows in lines for row in rows)
        return cls(labels, lines, 0.0 if fits else slanted)

    @property
    def height(self) -> float:
        if not self.slanted:
            return LINE * max(map(len, self.lines), default=1) + 4
        widest = max(text_width(name, TICK) for name in self.labels)
        return SLOPE * min(self.slanted, widest) + 18

    def draw(self, frame: _Frame) -> Iterator[Markup]:
        for place, name in enumerate(self.labels):
            x, y = frame.x(place), frame.bottom + 17
            if self.slanted:
                turn = f"rotate(45 {coordinate(x)} {coordinate(y)})"
                yield label(x - 4, y - 2, name, TICK, self.slanted, transform=turn, class_="tick")
            else:
                for i, line in enumerate(self.lines[place]):
                    yield label(x, y + LINE * i, line, TICK, text_anchor="middle", class_="tick")


def _wrap(name: str, room: float) -> tuple[str, ...]:
    """Return a label's lines, as many words on each as fit into ``room``."""
    lines: list[str] = []
    for word in name.split():
        if lines and text_width(f"{lines[-1]} {word}", TICK) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)


def is_wide(curves: Curves) -> bool:
    """Return whether the curves need the page's whole width."""
    return len(curves.series) > BANDS or len(curves.x_labels) > 8


def plot(curves: Curves) -> Markup:
    """Return the curves as one drawing in its natural size."""
    wide = is_wide(curves)
    width = 1080.0 if wide else 560.0
    marks = _y_ticks(curves)
    names = min(220.0 if wide else 150.0, max((text_width(name, NAME) for name in curves.series), default=0.0)) + 30
    left, right, top = 52.0, width - names, 30.0
    spacing = (right - left) / max(1, len(curves.x_labels))
    below = _Below.of(curves.x_labels, spacing - 6, min(SLANTED, names / SLOPE))
    height = max(250.0 if not wide else 340.0, LINE * len(curves.series) + 40)
    frame = _Frame(left, top, right, height, marks[0], marks[-1], max(1, len(curves.x_labels)))
    many = len(curves.series) > BANDS
    return picture(
        width,
        height + below.height + (24 if curves.x_title else 8),
        curves.title,
        f"{len(curves.series)} lines over {len(curves.x_labels)} points of {curves.x_title or 'the horizontal axis'}.",
        join(_axes(curves, frame, marks, below)),
        join(_series(curves, frame)),
        join(_names(curves, frame, names)),
        class_=f"plot{' wide' if wide else ''}{' many' if many else ''}",
    )


def _known(value: Estimate | None) -> bool:
    return value is not None and not math.isnan(value.value)


def _bounds(value: Estimate) -> tuple[float, float]:
    """Return an estimate's interval; the figure itself where it has none."""
    return (value.value, value.value) if math.isnan(value.low + value.high) else (value.low, value.high)


def _y_ticks(curves: Curves) -> list[float]:
    bounds = [_bounds(v) for values in curves.series.values() for v in values if v is not None and _known(v)]
    low = min((low for low, _ in bounds), default=0.0)
    high = max((high for _, high in bounds), default=1.0)
    if curves.chance is not None and low < curves.chance + 0.15:
        low = min(low, curves.chance)
    return ticks(low, high)


def _axes(curves: Curves, frame: _Frame, marks: list[float], below: _Below) -> Iterator[Markup]:
    for mark in marks:
        y = frame.y(mark)
        yield tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="gridline")
        yield label(frame.left - 8, y + 4, show(mark, curves.kind), TICK, text_anchor="end", class_="tick")
    if curves.chance is not None and marks[0] <= curves.chance <= marks[-1]:
        y = frame.y(curves.chance)
        yield tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="chance")
        yield label(frame.left + 6, y - 5, "chance", 10, class_="tick")
    yield label(frame.left - 40, 14, curves.y_title, 11, class_="axis-title")
    yield from below.draw(frame)
    y = frame.bottom + below.height + 16
    yield label((frame.left + frame.right) / 2, y, curves.x_title, 11, text_anchor="middle", class_="axis-title")


def _series(curves: Curves, frame: _Frame) -> Iterator[Markup]:
    for index, (name, values) in enumerate(curves.series.items()):
        dash = DASHES[index // len(SERIES["light"]) % len(DASHES)]
        parts: list[str] = []
        for known, run in groupby(enumerate(values), key=lambda item: _known(item[1])):
            if known:
                parts += _run([(place, value) for place, value in run if value is not None], frame, dash)
        for place, value in enumerate(values):
            if value is not None and _known(value):
                words = f"{name}, {curves.x_labels[place]}: {show_whole(value, curves.kind)}, n = {value.n:,}"
                x, y = frame.x(place), frame.y(value.value)
                halo = tag("circle", cx=x, cy=y, r=9, class_="halo")
                parts.append(tag("g", tag("title", words), halo, tag("circle", cx=x, cy=y, r=3, class_="point")))
        yield tag("g", *parts, class_=f"series {series_class(index)}")


def _run(points: list[tuple[int, Estimate]], frame: _Frame, dash: str) -> Iterator[Markup]:
    """Yield the band and the line of neighbouring points."""
    upper = [(frame.x(place), frame.y(_bounds(value)[1])) for place, value in points]
    lower = [(frame.x(place), frame.y(_bounds(value)[0])) for place, value in reversed(points)]
    yield tag("path", d=_path([*upper, *lower]) + "Z", class_="band")
    line = [(frame.x(place), frame.y(value.value)) for place, value in points]
    yield tag("path", d=_path(line), class_="line", stroke_dasharray=dash or None)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def _names(curves: Curves, frame: _Frame, room: float) -> Iterator[Markup]:
    """Yield each line's name at its last point, moved apart where they would overlap."""
    ends = {
        index: max(place for place, value in enumerate(values) if _known(value))
        for index, values in enumerate(curves.series.values())
        if any(map(_known, values))
    }
    lines = list(curves.series.items())
    wanted = {index: frame.y(_last(lines[index][1], place)) for index, place in ends.items()}
    placed = dict(zip(wanted, spread_out(list(wanted.values()), LINE, frame.top, frame.bottom), strict=True))
    for index, y in placed.items():
        start, end = frame.x(ends[index]) + 6, frame.right + 8
        bend = (frame.right + frame.x(frame.count - 1)) / 2
        path = _path([(start, wanted[index]), (max(start, min(bend, end - 8)), wanted[index]), (end, y)])
        yield tag(
            "g",
            tag("path", d=path, class_="leader"),
            label(end + 4, y + 4, lines[index][0], NAME, room - 14, class_="series-name"),
            class_=series_class(index),
        )


def _last(values: tuple[Estimate | None, ...], place: int) -> float:
    value = values[place]
    return math.nan if value is None else value.value


def series_class(index: int) -> str:
    """Return the class that colours a line: ``s3``."""
    return f"s{index % len(SERIES['light'])}"
