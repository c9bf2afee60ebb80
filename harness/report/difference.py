"""A difference task laid out: which methods mark what changed, which was chosen, what it gains. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.difference.method import Method
from harness.report.degraded import brief
from harness.report.tree import Block, Cell, Column, Curves, Section, Sheet, Table, Text, Tile
from harness.stats import Estimate
from harness.tasks.difference import (
    ALL,
    FALSE_REGIONS,
    FIGURES,
    Choice,
    Differences,
    MethodFigures,
)

_INTRO = (
    "A method lays the second image over the first, prepares both, draws a map of where they differ, and cuts it into"
    " regions. IoU is that of its mask with the pixels that changed. A spot is found where the peak of a region points"
    " at it (within a hundredth of the shorter side), and a region is right where its peak points at a spot. Conditions"
    " are what was done to the second image. Intervals are 95 %, by bootstrap over the pictures that pairs are made of;"
    " agreement is 1 where every spot has one region and there are no others;"
    " methods that can't be told apart (paired bootstrap, Holm) share a rank."
)

PARTS: Mapping[str, str] = {
    "strategy": "strategy",
    "preprocess": "pre-processor",
    "postprocess": "post-processors",
    "registration": "registration",
}
"""Parts of a method by their key."""


def difference_sections(found: Differences, tiles: Sequence[Tile], many: bool) -> Iterator[Section]:
    """Lay out a difference task.

    Args:
        found: its figures.
        tiles: pictures of the chosen method's differences.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    name = found.task.name
    prefix = f"{name}: " if many else ""
    if not found.methods:
        yield Section(f"{prefix}Where images differ", (Text("No method marked anything that changed."),), _INTRO)
        return
    yield Section(f"{prefix}Where images differ", tuple(_blocks(found, tiles)), _INTRO)
    yield Section(
        f"{prefix}Every method", (_leaderboard(found, found.methods, "methods", "Every method"),), detail=True
    )


def _blocks(found: Differences, tiles: Sequence[Tile]) -> Iterator[Block]:
    name = found.task.name
    if found.choice is not None:
        yield Text(_chosen(found, found.choice))
    if found.pairs:
        yield _pairs(found)
    if found.gains:
        yield _gains(found)
    yield _leaderboard(
        found, _shown(found), "leaderboard", "The chosen method, the baseline, and the best of each strategy"
    )
    yield from _curves(found)
    yield from (table for part in PARTS if (table := _parts(found, part)) is not None)
    kinds = _kinds(found)
    if len(kinds.columns) > 2:
        yield kinds
    if tiles:
        yield Sheet(f"{name}_pictures", "What the chosen method sees", tuple(tiles), wide=True)


def _chosen(found: Differences, choice: Choice) -> str:
    where = f"task {choice.on}" if choice.score is None else f"the {choice.on} pairs"
    figure = FIGURES[found.task.rank_by]
    held = f" ({figure} {choice.score.value:.3f} there)" if choice.score is not None else ""
    mine, there = found.of(choice.method), ""
    if mine:
        score = mine.estimates[ALL, found.task.rank_by].value
        there = f"; here its {figure} is {score:.3f}, rank {mine.rank} of {len(found.methods)} methods"
    return f"Chosen on {where}{held}: {choice.method.id}{there}."


def _shown(found: Differences) -> list[MethodFigures]:
    """Return the choice, the baseline and the best method of each strategy, in the order of their ranks."""
    chosen = found.choice.method if found.choice else None
    wanted: dict[Method, MethodFigures] = {}
    strategies: set[str] = set()
    for item in found.methods:
        first = item.method.strategy.id not in strategies
        strategies.add(item.method.strategy.id)
        if first or item.method == chosen or item is found.baseline:
            wanted[item.method] = item
    return list(wanted.values())


def _leaderboard(found: Differences, rows: Sequence[MethodFigures], key: str, title: str) -> Table:
    chosen = found.choice.method if found.choice else None
    columns = (
        Column("rank", "rank", "int"),
        *(Column(part, words) for part, words in PARTS.items()),
        Column("mark", ""),
        *(
            Column(
                figure,
                words,
                "float" if figure == FALSE_REGIONS else "estimate",
                "low" if figure == FALSE_REGIONS else "high",
            )
            for figure, words in FIGURES.items()
        ),
        Column("seconds", "seconds a map", "float", "low"),
    )
    cells: list[Mapping[str, Cell]] = []
    for item in rows:
        mark = "chosen" if item.method == chosen else "baseline" if item is found.baseline else ""
        figures = {figure: item.estimates[ALL, figure] for figure in FIGURES}
        cells.append({"rank": item.rank, **item.method.brief_parts, "mark": mark, **figures, "seconds": item.seconds})
    return Table(f"{found.task.name}_{key}", title, columns, tuple(cells))


def _gains(found: Differences) -> Table:
    assert found.baseline is not None
    figure = found.task.rank_by
    return Table(
        f"{found.task.name}_gains",
        f"{_titled(figure)} of the chosen method minus the baseline ({found.baseline.method.brief})",
        (
            Column("condition", "condition"),
            Column(figure, f"difference in {FIGURES[figure]}", "estimate"),
            Column("p", "p (Holm)", "float"),
            Column("pairs", "pairs", "int"),
        ),
        tuple(
            {"condition": gain.condition, figure: gain.gain, "p": gain.p, "pairs": gain.gain.n} for gain in found.gains
        ),
    )


def _pairs(found: Differences) -> Table:
    return Table(
        f"{found.task.name}_pairs",
        "The chosen method on every pair as it is",
        (
            Column("pair", "pair"),
            Column("spots", "spots", "int"),
            Column("found", "found", "int"),
            Column("regions", "regions", "int"),
            Column("right", "right", "int"),
            Column("recall", "recall", "percent"),
            Column("precision", "precision", "percent"),
            Column("iou", "IoU", "estimate"),
        ),
        tuple(
            {
                "pair": item.name,
                "spots": item.spots,
                "found": item.found,
                "regions": item.regions,
                "right": item.right,
                "recall": Estimate.of_rate(item.found, item.spots),
                "precision": Estimate.of_rate(item.right, item.regions),
                "iou": item.iou,
            }
            for item in found.pairs
        ),
    )


def _curves(found: Differences) -> Iterator[Curves]:
    """Yield the task's figure by condition, where there is more than the clean one."""
    conditions = found.task.degradations
    if len(conditions) < 2:
        return
    short, figure = brief(conditions), found.task.rank_by
    chosen = found.choice.method if found.choice else None
    series = {}
    for item in _shown(found):
        mark = " (chosen)" if item.method == chosen else " (baseline)" if item is found.baseline else ""
        name = item.method.strategy.brief + mark
        label = f"{name}, rank {item.rank}" if name in series else name
        series[label] = tuple(item.estimates[where, figure] for where in conditions)
    labels = tuple(short.get(where, where) for where in conditions)
    title = f"{_titled(figure)} under each condition"
    key = f"{found.task.name}_{figure}"
    yield Curves(key, title, labels, series, FIGURES[figure], "condition", chance=None)


def _titled(figure: str) -> str:
    words = FIGURES[figure]
    return words[0].upper() + words[1:]


def _parts(found: Differences, part: str) -> Table | None:
    """Return the best method of every value of a part; None where there is one value."""
    best: dict[str, tuple[MethodFigures, int]] = {}
    for item in found.methods:
        held = best.setdefault(item.method.brief_parts[part], (item, 0))
        best[item.method.brief_parts[part]] = (held[0], held[1] + 1)
    if len(best) < 2:
        return None
    figure = found.task.rank_by
    return Table(
        f"{found.task.name}_by_{part}",
        f"The best method of each {PARTS[part].removesuffix('s')}",
        (
            Column("part", PARTS[part]),
            Column("methods", "methods", "int"),
            Column("rank", "best rank", "int"),
            Column(figure, f"its {FIGURES[figure]}", "estimate", "high"),
            Column("recall", "its spots found", "estimate", "high"),
        ),
        tuple(
            {
                "part": value,
                "methods": count,
                "rank": item.rank,
                figure: item.estimates[ALL, figure],
                "recall": item.estimates[ALL, "recall"],
            }
            for value, (item, count) in best.items()
        ),
    )


def _kinds(found: Differences) -> Table:
    shown = _shown(found)
    kinds = list(dict.fromkeys(kind for item in shown for kind in item.kinds))
    return Table(
        f"{found.task.name}_kinds",
        f"{_titled(found.task.rank_by)} by kind of change",
        (Column("method", "method"), *(Column(f"kind_{kind}", kind, "estimate", "high") for kind in kinds)),
        tuple(
            {"method": item.method.brief, **{f"kind_{kind}": value for kind, value in item.kinds.items()}}
            for item in shown
        ),
    )
