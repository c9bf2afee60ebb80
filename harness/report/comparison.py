"""Two runs beside each other, and a gate's outcomes, laid out as reports. Computes no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.compare import Comparison
from harness.comparison.change import POOLED, Change, Floors, Place
from harness.gate import Judged, Outcome, passed
from harness.report.degraded import brief
from harness.report.tree import Block, Cell, Column, Kind, Report, Section, Table
from harness.spec.gate import Kind as FigureKind

_INTRO = (
    "Figures are over the images that both runs answered. Changes have 95 % intervals, clustered by source image; p is"
    " McNemar's exact one of accuracies, clustered too, and a paired bootstrap's of others, adjusted (Holm) over the"
    " whole comparison. A change counts as better or worse where p is below 5 % and it is larger than the floor."
)

_WHERE = (
    Column("task", "task"),
    Column("model", "model"),
    Column("condition", "condition"),
    Column("subset", "subset"),
)


def comparison_report(found: Comparison, floors: Floors) -> Report:
    """Lay out a comparison: what became better or worse, all pooled figures, and those of each subset."""
    said = Counter(change.verdict(floors) for change in found.changes)
    tested = sum(said[word] for word in ("better", "worse", "small", "chance"))
    changed = [change for change in found.changes if change.verdict(floors) in ("better", "worse")]
    floor = f"floors: {100 * floors.share:g} points, {floors.latency:.0%} of a time"
    parts: dict[str, tuple[str, Callable[[Change], bool]]] = {
        "All images": ("pooled", lambda change: not change.identical and change.place.subset == POOLED),
        "By subset": ("subsets", lambda change: not change.identical and change.place.subset != POOLED),
        "Identical answers": ("identical", lambda change: change.identical),
    }
    return Report(
        title=f"{found.after} against {found.before}",
        subtitle=f"{found.identical:,} of {found.cells:,} cells have identical answers and are not tested",
        verdict=f"VALID: {said['worse']} worse, {said['better']} better, of {tested} tested figures ({floor})",
        notes=found.notes,
        sections=(
            *([Section("Better or worse", tuple(_tables(changed, floors, "changed")))] if changed else []),
            *(
                Section(title, tables, _INTRO if name == "pooled" else "", detail=name != "pooled")
                for title, (name, keep) in parts.items()
                if (tables := tuple(_tables([item for item in found.changes if keep(item)], floors, name)))
            ),
        ),
    )


def gate_report(outcomes: Sequence[Outcome], run: str, baseline: str, notes: Iterable[str] = ()) -> Report:
    """Lay out a gate's outcomes, failures first."""
    said = Counter(outcome.judged for outcome in outcomes)
    order: dict[Judged, int] = {"failed": 0, "skipped": 1, "passed": 2}
    words = ", ".join(f"{said[word]} {word}" for word in order if said[word])
    columns = (
        *(Column("expectation", "expected"), Column("judged", "judged")),
        *(*_WHERE, Column("why", "found"), Column("p", "p (one-sided, Holm)", "float")),
    )
    rows = [
        {
            "expectation": item.expected,
            "judged": item.judged.upper() if item.judged == "failed" else item.judged,
        }
        | _where(item.place)
        | {"why": item.why, "p": item.p}
        for item in sorted(outcomes, key=lambda item: order[item.judged])
    ]
    return Report(
        title=f"Gate: {run}",
        subtitle=f"against {baseline}",
        verdict=f"{'PASSED' if passed(outcomes) else 'FAILED'}: {words}",
        notes=tuple(notes),
        sections=(Section("Expectations", (Table("gate", "Expectations", columns, tuple(rows)),)),),
    )


_LAYOUTS: tuple[tuple[str, str, FigureKind, Kind, Kind, str], ...] = (
    ("figures", "Figures", "share", "estimate", "estimate", "change"),
    ("times", "Times", "latency", "seconds", "percent", "change"),
    ("decisions", "Decisions and failures", "count", "int", "percent", "share of images"),
)
"""Of each table: name, title, which figures, how their values and changes read, and the heading of the latter."""


def _tables(changes: Sequence[Change], floors: Floors, name: str) -> Iterator[Block]:
    """Yield one table for each kind of figure that there is; agreement is what flips leave."""
    for kind, title, figures, values, moved, heading in _LAYOUTS:
        rows = [change for change in changes if change.kind == figures]
        if not rows:
            continue
        short = brief(list(dict.fromkeys(change.place.condition for change in rows)))
        several = len({change.place.task for change in rows}) > 1, any(change.place.subset for change in rows)
        columns = (
            *(
                column
                for column in _WHERE
                if several[0] or column.key != "task"
                if several[1] or column.key != "subset"
            ),
            Column("figure", "figure"),
            Column("before", "before", values),
            Column("after", "after", values),
            Column("change", heading, moved),
            Column("n", "requests" if kind == "times" else "images", "int"),
            *((Column("p", "p", "float"), Column("verdict", "verdict")) if kind != "decisions" else ()),
        )
        cells = [
            _where(item.place)
            | {"condition": short.get(item.place.condition, item.place.condition), "figure": item.figure}
            | {**_shown(item), "verdict": _verdict(item, floors)}
            for item in rows
        ]
        yield Table(f"{name}_{kind}", title, columns, tuple(cells))


def _shown(change: Change) -> dict[str, Cell]:
    p = change.adjusted
    return {"before": change.before, "after": change.after, "change": change.change, "n": change.change.n, "p": p}


def _verdict(change: Change, floors: Floors) -> str:
    verdict = change.verdict(floors)
    words = {"chance": "no more than chance", "small": "below the floor", "untested": change.note or "not tested"}
    return words.get(verdict, verdict)


def _where(place: Place) -> dict[str, Cell]:
    subset = place.subset or "all"
    return {"task": place.task, "model": place.model, "condition": place.condition, "subset": subset}
