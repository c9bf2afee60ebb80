"""What the pictures of a report share: sized text, ticks and the small interval of a table cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.report.markup import Markup, coordinate, tag

CHARACTER = 0.6
"""Width of a character in units of the font size, as broad fonts have it."""


def picture(width: float, height: float, title: str, description: str, *children: str, class_: str = "") -> Markup:
    """Return an SVG drawing that says in words what it shows."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        role="img",
        class_=class_ or None,
    )


def label(x: float, y: float, text: str, size: float = 12, room: float = math.inf, **attributes: str) -> Markup:
    """Return a line of text, shortened to ``room`` pixels; shortened text keeps its whole as a tooltip."""
    short = shorten(text, size, room)
    whole = tag("title", text) if short != text else Markup()
    return tag("text", short, whole, x=x, y=y, font_size=size, **attributes)


def text_width(text: str, size: float) -> float:
    """Return about how wide ``text`` is, in pixels."""
    return CHARACTER * size * len(text)


def shorten(text: str, size: float, room: float) -> str:
    """Return ``text`` cut in its middle to fit ``room`` pixels; both ends tell similar names apart."""
    if text_width(text, size) <= room:
        return text
    keep = max(2, int(room / (CHARACTER * size)) - 1)
    return f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from at or below ``low`` to at or above ``high``, ``most`` or fewer of them."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    for multiple in (1, 2, 2.5, 5, 10, 20, 25, 50):
        step = multiple * power
        first = math.floor(low / step + 1e-9)
        last = max(first + 1, math.ceil(high / step - 1e-9))
        if last - first < most:
            return [round(i * step, 10) for i in range(first, last + 1)]
    return [low, high]


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places near those wanted, in [low, high] and ``gap`` apart, as labels beside line ends need them."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    floor = low
    for i in order:
        placed[i] = floor = max(placed[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        placed[i] = ceiling = min(placed[i], ceiling)
        ceiling -= gap
    return placed


def whisker(value: float, low: float, high: float, start: float, end: float) -> Markup:
    """Return a figure with its interval on a track from ``start`` to ``end``, to be read down a column of a table."""
    width, scale = 80.0, (end - start) or 1.0

    def x(figure: float) -> float:
        return 3 + (width - 6) * min(1.0, max(0.0, (figure - start) / scale))

    return tag(
        "svg",
        tag("line", x1=0, x2=width, y1=4, y2=4, class_="track"),
        tag("line", x1=x(low), x2=x(high), y1=4, y2=4, class_="reach"),
        tag("circle", cx=x(value), cy=4, r=2.5, class_="point"),
        viewBox=f"0 0 {coordinate(width)} 8",
        width=width,
        height=8,
        class_="whisker",
        aria_hidden="true",
    )


def trend(values: Sequence[float], description: str) -> Markup:
    """Return how a figure went, oldest first, as a small line that says its ends in words."""
    width, height = 96.0, 22.0
    low, high = min(values), max(values)

    def place(i: int, value: float) -> tuple[float, float]:
        x = 4 + (width - 8) * i / max(1, len(values) - 1)
        return x, height / 2 if high == low else 4 + (height - 8) * (high - value) / (high - low)

    points = [place(i, value) for i, value in enumerate(values)]
    path = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
    return picture(
        width,
        height,
        description,
        "The last run is the point at the right.",
        tag("path", d=path, class_="line"),
        tag("circle", cx=points[-1][0], cy=points[-1][1], r=2.5, class_="point"),
        class_="trend",
    )
