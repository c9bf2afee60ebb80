"""GenImage's tables laid out: cross matrices, means over detectors, one training generator. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.models import VARIANT
from harness.report.figures import BRIEF, CROSSED, SHORT, compared, kind_of, title_of
from harness.report.tree import Block, Cell, Column, Matrix, Section, Table, Text
from harness.tasks.cross import (
    Family,
    Grid,
    cross_matrix,
    families,
    mean_of_detectors,
    means,
    trained_on,
)
from harness.tasks.detection import Detection, Detector, cross_generator

_ARCHITECTURES = (
    "Detectors of one architecture, each trained on another generator. In-domain cells, in which the tested generator"
    " is the one trained on, and cross-generator cells have means of their own; a mean over all cells, as published"
    " tables have it, is named so. Clean images where nothing else is said."
)

_MATRICES = (
    "Rows are detectors, columns the generators they are tested on; outlined cells are in-domain: the detector was"
    " trained on that generator. Diagonal and off-diagonal have means of their own."
)


def cross_sections(detection: Detection, name: str, prefix: str) -> Iterator[Section]:
    """Lay out what detectors say of generators that they were and were not trained on.

    One matrix an architecture that has detectors of several generators, and one of all other detectors.

    Args:
        detection: the task's figures.
        name: what names of blocks begin with.
        prefix: what headings begin with.
    """
    found = families(detection)
    crossing = [family for family in found if family.crosses]
    tables = tuple(_architectures(detection, crossing, name))
    if tables:
        yield Section(f"{prefix}Architectures", tables, _ARCHITECTURES)
    yield Section(
        f"{prefix}Detector x generator",
        tuple(_crossed(detection, crossing, name)),
        _MATRICES,
        detail=len(crossing) > 1,
    )


def grid_table(
    grid: Grid, name: str, title: str, first: str, mean: str, titles: Mapping[str, str] | None = None
) -> Table:
    """Return a grid as a table.

    Args:
        grid: its figures.
        name, title: the table's.
        first: what the rows are.
        mean: what the rows' means are over.
        titles: headings of columns that bear another than their label.
    """
    kind = kind_of(grid.metric)
    columns = (Column(f"on_{column}", (titles or {}).get(column, column), kind, "high") for column in grid.columns)
    rows = zip(grid.rows, grid.cells, grid.means, strict=True)
    return Table(
        name,
        title,
        (Column("row", first), *columns, Column("mean", mean, kind, "high")),
        tuple({"row": row, "mean": average, **_cells(grid.columns, cells)} for row, cells, average in rows),
    )


def _cells(columns: Sequence[str], cells: Sequence[Cell]) -> dict[str, Cell]:
    return {f"on_{column}": cell for column, cell in zip(columns, cells, strict=True)}


def _architectures(detection: Detection, crossing: Sequence[Family], name: str) -> Iterator[Block]:
    members = [(family.name, family.detectors) for family in crossing]
    if crossing:
        for condition, ending, words in compared(detection):
            title = f"Diagonal and off-diagonal means{words}"
            yield _means_table(members, condition, f"{name}_architectures{ending}", title, "architecture")
    if detection.task.trained_on is not None and len(detection.generators) > 1:
        yield from _trained_on(detection, detection.task.trained_on, name)
    for metric in CROSSED if crossing else ():
        words = f"Mean over each architecture's detectors, {SHORT[metric]}"
        grid = mean_of_detectors(crossing, detection.generators, metric)
        title = f"{words}, in-domain cells included as published"
        yield grid_table(grid, f"{name}_mean_of_detectors_{metric}", title, "architecture", "all cells")
        grid = mean_of_detectors(crossing, detection.generators, metric, cross_generator)
        title = f"{words}, off-diagonal"
        yield grid_table(grid, f"{name}_mean_of_detectors_{metric}_cross", title, "architecture", "cross-generator")


def _trained_on(detection: Detection, subset: str, name: str) -> Iterator[Block]:
    """Yield one table a metric of the detectors trained on one subset; in words where there are none."""
    rows = trained_on(detection, subset)
    if not rows:
        known = {name for item in detection.detectors for name in item.head.trained_on}
        yield Text(f"No detector was trained on {subset} alone. Trained on: {', '.join(sorted(known)) or 'not told'}.")
        return
    for metric in CROSSED:
        grid = cross_matrix(rows, detection.generators, metric)
        title = f"Trained on {subset}, tested on all: {SHORT[metric]}"
        table = grid_table(grid, f"{name}_trained_on_{metric}", title, "architecture", "all cells")
        outside = Column("cross", "cross-generator", kind_of(metric), "high")
        yield Table(
            table.name,
            table.title,
            (*table.columns, outside),
            tuple(
                {**row, "cross": means([item], metric).outside}
                for row, item in zip(table.rows, rows.values(), strict=True)
            ),
        )


def _crossed(detection: Detection, crossing: Sequence[Family], name: str) -> Iterator[Block]:
    for family in crossing:
        rows = dict(zip(family.labels(), family.detectors, strict=True))
        slug = f"{name}_cross_{family.name.replace(VARIANT, '-')}"
        yield from _matrices(detection, rows, slug, f"{family.name}: ", "trained on")
        members = [*((label, (item,)) for label, item in rows.items()), ("all", family.detectors)]
        for condition, ending, words in compared(detection):
            title = f"{family.name}: means of the rows{words}"
            yield _means_table(members, condition, f"{slug}_means{ending}", title, "trained on")
    own = {item.name for family in crossing for item in family.detectors}
    others = {item.name: item for item in detection.detectors if item.name not in own}
    if others:
        yield from _matrices(detection, others, name, "", "detector")


def _matrices(
    detection: Detection, rows: Mapping[str, Detector], name: str, prefix: str, row_title: str
) -> Iterator[Matrix]:
    for condition, ending, words in compared(detection):
        for metric in CROSSED:
            grid = cross_matrix(rows, detection.generators, metric, condition)
            yield Matrix(
                name=f"{name}_{metric}{ending}",
                title=f"{prefix}{SHORT[metric]}{words}" if prefix else f"{title_of(metric)}{words}",
                row_labels=grid.rows,
                column_labels=grid.columns,
                values=grid.cells,
                diagonal=grid.diagonal,
                row_title=row_title,
                column_title="tested on",
                kind=kind_of(metric),
            )


def _means_table(
    members: Sequence[tuple[str, Sequence[Detector]]], condition: str, name: str, title: str, first: str
) -> Table:
    columns = [Column("row", first), Column("detectors", "detectors", "int")]
    rows: list[dict[str, Cell]] = [{"row": label, "detectors": len(detectors)} for label, detectors in members]
    for metric in CROSSED:
        for key, words in (("inside", "in-domain"), ("outside", "cross-generator"), ("everywhere", "all cells")):
            columns.append(Column(f"{key}_{metric}", f"{words} {BRIEF[metric]}", kind_of(metric), "high"))
        for row, (_, detectors) in zip(rows, members, strict=True):
            mean = means(detectors, metric, condition)
            row |= {
                f"inside_{metric}": mean.inside,
                f"outside_{metric}": mean.outside,
                f"everywhere_{metric}": mean.everywhere,
            }
    return Table(name, title, tuple(columns), tuple(rows))
