"""Learning curves laid out: figures by how much detectors were trained on, and what the most brought. Computes none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from harness.report.figures import BRIEF, CROSSED, SHORT, WORDS, kind_of, title_of
from harness.report.tree import Block, Cell, Column, Curves, Section, Table, Text
from harness.stats import Estimate
from harness.tasks.cross import means
from harness.tasks.learning import METRIC, LearningCurve, Line, Point

COUNTED = {"images": "training images", "contents": "training contents"}

_INTRO = {
    "images": "Detectors by the number of images that they were trained on, real and fake together.",
    "contents": "Detectors by how many different contents (classes, or photographs) their training images show.",
}

_POINTS = (
    " A point is the mean over an architecture's detectors that were trained on as much; those of a line were trained"
    " on the same generators at every point. Clean images. Intervals are over test images: how far another training"
    " on as much would lie from this one is not in them."
)


def learning_section(found: LearningCurve, name: str, prefix: str) -> Section:
    """Lay out a task's learning curve; ``name`` begins its blocks' names."""
    return Section(f"{prefix}Learning curve", tuple(_blocks(found, name)), _INTRO[found.quantity] + _POINTS)


def _blocks(found: LearningCurve, name: str) -> Iterator[Block]:
    counted = COUNTED[found.quantity]
    if found.untold:
        yield Text(f"Not shown, for their cards do not say the number of {counted}: {', '.join(found.untold)}.")
    if found.lines:
        yield _figures(found, name)
    if any(len(line.points) > 1 for line in found.lines):
        yield from _curves(found, name)
    else:
        yield Text(f"No architecture has detectors of different numbers of {counted}: there is no curve to draw.")
    if found.gains:
        yield _gains(found, name)


def _figures(found: LearningCurve, name: str) -> Table:
    columns = [
        Column("architecture", "architecture"),
        Column("trained_on", "trained on"),
        Column("number", COUNTED[found.quantity], "int"),
        Column("detectors", "detectors", "int"),
    ]
    for metric in CROSSED:
        columns += [
            Column(f"inside_{metric}", f"in-domain {BRIEF[metric]}", kind_of(metric), "high"),
            Column(f"outside_{metric}", f"cross-generator {BRIEF[metric]}", kind_of(metric), "high"),
        ]
    rows = tuple(_row(line, point) for line in found.lines for point in line.points)
    return Table(f"{name}_learning", f"By number of {COUNTED[found.quantity]}", tuple(columns), rows)


def _row(line: Line, point: Point) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "architecture": line.architecture,
        "trained_on": ", ".join(line.trained_on),
        "number": point.number,
        "detectors": len(point.detectors),
    }
    for metric in CROSSED:
        mean = means(point.detectors, metric)
        row |= {f"inside_{metric}": mean.inside, f"outside_{metric}": mean.outside}
    return row


def _curves(found: LearningCurve, name: str) -> Iterator[Curves]:
    """For each metric one picture of the generators trained on, one of the new ones."""
    numbers = sorted({point.number for line in found.lines for point in line.points})
    for domain, metric in product(WORDS, CROSSED):
        series = {line.name: tuple(_at(line, number, domain, metric) for number in numbers) for line in found.lines}
        known = {label: values for label, values in series.items() if any(value is not None for value in values)}
        if known:
            yield Curves(
                name=f"{name}_learning_{domain}" + ("" if metric == METRIC else f"_{metric}"),
                title=f"{title_of(metric)} by number of {COUNTED[found.quantity]}: {WORDS[domain]}",
                x_labels=tuple(f"{number:,}" for number in numbers),
                series=known,
                y_title=SHORT[metric],
                x_title=COUNTED[found.quantity],
                kind=kind_of(metric),
            )


def _at(line: Line, number: int, domain: str, metric: str) -> Estimate | None:
    """Return a line's mean at a number; None where it has no point there."""
    for point in line.points:
        if point.number == number:
            return means(point.detectors, metric).of(domain)
    return None


def _gains(found: LearningCurve, name: str) -> Table:
    return Table(
        f"{name}_learning_gains",
        f"What the most {COUNTED[found.quantity]} brought over fewer",
        (
            Column("line", "architecture"),
            Column("tested", "tested on"),
            Column("start", "from", "int"),
            Column("end", "to", "int"),
            Column("auroc", "AUROC gained", "estimate"),
            Column("p", "p (paired bootstrap, Holm)", "float"),
        ),
        tuple(
            {
                "line": gain.line,
                "tested": WORDS[gain.domain],
                "start": gain.start,
                "end": gain.end,
                "auroc": gain.auroc,
                "p": gain.p,
            }
            for gain in found.gains
        ),
    )
