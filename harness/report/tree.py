"""What a report says, as plain frozen values; knows nothing of how or where it is shown."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import problem
from harness.stats.clustering import Merge
from harness.stats.intervals import Estimate

Kind = Literal["text", "int", "percent", "float", "estimate", "bytes", "seconds"]
"""How a cell reads.

``percent`` is a share in [0, 1] shown as a percentage, ``estimate`` one shown with three decimals, ``float`` any number
with four significant digits; each of the three may be a bare number or an ``Estimate``, whose interval is then shown.
"""

Cell = str | int | float | Estimate | None
"""None and nan are shown as a dash."""

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Text:
    """Prose; a blank line parts paragraphs."""

    body: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: of its cells in a row.
        title: its heading.
        kind: how its cells read.
        better: which end is best, so that the best cell can be marked; None marks nothing.
    """

    key: str
    title: str
    kind: Kind = "text"
    better: Literal["high", "low"] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells by column key; a key that a row lacks is a dash.

    Attributes:
        name: unique in the report; its file and anchor.
        title: its caption.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Figures over two kinds of label, shown as a heat map.

    Attributes:
        name: unique in the report; its file and anchor.
        title: its caption.
        row_labels, column_labels: unique labels.
        values: one figure a row and column, None where there is none.
        diagonal: the marked (row, column) positions, from 0; a fingerprint's own generator, say.
        row_title, column_title: what the labels are (``trained on``, ``tested on``).
        diagonal_title: what the mark means.
        kind: how the figures read.
        low, high: figures at the two ends of the colour scale; below ``low`` the colour turns.
    """

    name: str
    title: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    values: tuple[tuple[Estimate | None, ...], ...]
    diagonal: frozenset[tuple[int, int]] = frozenset()
    row_title: str = ""
    column_title: str = ""
    diagonal_title: str = "in domain"
    kind: Literal["percent", "estimate"] = "estimate"
    low: float = 0.5
    high: float = 1.0

    def __post_init__(self) -> None:
        shape = [len(row) for row in self.values]
        if shape != [len(self.column_labels)] * len(self.row_labels):
            expected = f"{len(self.row_labels)} rows of {len(self.column_labels)}"
            raise ValueError(problem(f"matrix {self.name}", expected, str(shape), "Give every cell a figure or None"))


@dataclass(frozen=True, slots=True)
class Curves:
    """Figures along an ordered axis, one line a series.

    Attributes:
        name: unique in the report; its file and anchor.
        title: its caption.
        x_labels: the axis, in order.
        series: one figure an x label for each named line, None where there is none.
        y_title, x_title: what the axes are.
        kind: how the figures read.
        chance: where a line marks what guessing gives; None for none.
    """

    name: str
    title: str
    x_labels: tuple[str, ...]
    series: Mapping[str, tuple[Estimate | None, ...]]
    y_title: str = ""
    x_title: str = ""
    kind: Literal["percent", "estimate", "float"] = "estimate"
    chance: float | None = 0.5

    def __post_init__(self) -> None:
        for label, values in self.series.items():
            if len(values) != len(self.x_labels):
                what, got = f"curves {self.name}, {label}", f"{len(values)}"
                raise ValueError(problem(what, f"{len(self.x_labels)} figures", got, "Give None where there is none"))


@dataclass(frozen=True, slots=True)
class Dendrogram:
    """A hierarchy as a tree.

    Attributes:
        name: unique in the report; its file and anchor.
        title: its caption.
        leaves: unique labels, in the order in which they stand.
        merges: what becomes one, nearest first; the last one holds every leaf.
        x_title: what the distances are.
    """

    name: str
    title: str
    leaves: tuple[str, ...]
    merges: tuple[Merge, ...]
    x_title: str = "distance"

    def __post_init__(self) -> None:
        groups: set[tuple[str, ...]] = {(leaf,) for leaf in self.leaves}
        for merge in self.merges:
            if not {merge.left, merge.right} <= groups:
                what, got = f"dendrogram {self.name}", f"{merge.left} and {merge.right}"
                raise ValueError(problem(what, "two groups not merged yet", got, "Give merges in their order"))
            groups = groups - {merge.left, merge.right} | {merge.left + merge.right}
        if groups != {self.leaves}:
            what, got = f"dendrogram {self.name}", f"{len(groups)}"
            raise ValueError(problem(what, "one group, in the order of its leaves", got, "Merge all, reorder leaves"))


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points in a plane whose axes mean nothing by themselves, in named groups.

    Attributes:
        name: unique in the report; its file and anchor.
        title: its caption.
        points: (x, y) of each group's points, finite.
    """

    name: str
    title: str
    points: Mapping[str, tuple[tuple[float, float], ...]]

    def __post_init__(self) -> None:
        for label, points in self.points.items():
            if not all(math.isfinite(value) for point in points for value in point):
                what = f"scatter {self.name}, {label}"
                raise ValueError(problem(what, "finite points", "others", "Leave out what has no place"))


@dataclass(frozen=True, slots=True)
class Tile:
    """A thumbnail: PNG bytes, a caption and a line of detail."""

    image_png: bytes
    caption: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Thumbnails side by side, or one below the other where they are ``wide``."""

    name: str
    title: str
    tiles: tuple[Tile, ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Pairs:
    """Keys with their values, in order."""

    name: str
    items: tuple[tuple[str, str], ...]
    title: str = ""


Picture = Matrix | Curves | Dendrogram | Scatter
"""What is drawn."""

Block = Text | Table | Picture | Sheet | Pairs


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading.

    Attributes:
        title: the heading.
        blocks: what stands below it.
        intro: prose before them.
        detail: for looking things up; a terminal leaves it to the files.
    """

    title: str
    blocks: tuple[Block, ...]
    intro: str = ""
    detail: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes:
        title, subtitle: its heading.
        verdict: begins with VALID or INVALID; an INVALID one goes on with its reasons.
        notes: sentences that no reader may miss.
        sections: its body.
    """

    title: str
    subtitle: str
    verdict: str
    notes: tuple[str, ...]
    sections: tuple[Section, ...]

    def __post_init__(self) -> None:
        names = Counter(block.name for block in self.blocks() if not isinstance(block, Text))
        for name, times in names.items():
            if not NAME.fullmatch(name):
                do = "Use lower case letters, digits, dot, dash and underscore"
                raise ValueError(problem("block name", "one that can name a file", repr(name), do))
            if times > 1:
                raise ValueError(problem(f"block {name}", "one of that name", str(times), "Rename the others"))

    def blocks(self) -> Iterator[Block]:
        """Yield every block in order."""
        for section in self.sections:
            yield from section.blocks
