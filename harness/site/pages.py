"""The site's pages as HTML: an index over all runs, and one page a model. Reads and writes no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from urllib.parse import quote

from harness.report.cells import number, show_whole
from harness.report.html import block_card
from harness.report.html_table import grid, heading, number_cell, words_cell
from harness.report.markup import Markup, join, tag
from harness.report.page import contents, masthead, page, section
from harness.report.svg import trend
from harness.report.tree import Column, Curves, Pairs
from harness.site.entry import Entry, Standing
from harness.site.index import Course, Index
from harness.stats.intervals import Estimate

LATEST = 60
"""Runs of a task that a model's page shows; a longer history is asked for in SQL."""

_LEADERBOARD = (
    "The latest VALID figure of everything that stood on a leaderboard. Figures compare within one suite and task; the"
    " line shows how the figure went from run to run."
)
_RUNS = "Every run, newest first: the leader of each of its leaderboards, and the run's own report behind the date."


def index_page(index: Index, files: Mapping[str, str]) -> str:
    """Return the first page.

    Args:
        index: all runs.
        files: page of each model, under ``models/``.
    """
    unread = [entry for entry in index.entries if entry.trouble]
    parts = [("Leaderboard", _LEADERBOARD, _leaderboard(index, files)), ("Runs", _RUNS, _runs(index, files))]
    if unread:
        parts.append(("Could not be read", "Left out of all above, as far as they could not be read.", _unread(unread)))
    days = sorted(entry.when[:10] for entry in index.entries if entry.when)
    suites = {entry.suite for entry in index.entries if entry.info}
    said = f"{_several(len(index.entries), 'run')} of {_several(len(suites), 'suite')}"
    if days:
        said += f", {days[0]}" if days[0] == days[-1] else f", {days[0]} to {days[-1]}"
    said += f"; {_several(len(files), 'model')}."
    return _page("Runs", masthead("Runs", said), parts)


def model_page(model: str, courses: Sequence[Course]) -> str:
    """Return the page of one model: its figures over runs, one section a suite and task."""
    about = next((known for course in courses if (known := course.latest[0].about.get(model))), {})
    facts = tuple((key, value) for key, value in about.items() if key not in ("model", "summary"))
    back = tag("p", tag("a", "Runs", href="../index.html"), class_="back")
    head = masthead(model, about.get("summary", ""), above=back)
    parts = []
    for place, ((suite, task), group) in enumerate(groupby(courses, lambda course: (course.suite, course.task)), 1):
        parts.append((f"{suite}: {task}", "", _history(list(group), place)))
    if facts:
        parts.append(("About", "As its latest run tells it.", block_card(Pairs("about", facts))))
    return _page(model, head, parts)


def _page(title: str, head: Markup, parts: Sequence[tuple[str, str, str]]) -> str:
    sections = (section(place, name, intro, [body]) for place, (name, intro, body) in enumerate(parts, 1))
    foot = tag("footer", "Made by harness report from run.json and report.json of each run.")
    return page(title, head, contents(name for name, _, _ in parts), tag("main", *sections), foot, wide=True)


def _leaderboard(index: Index, files: Mapping[str, str]) -> Markup:
    columns = (
        *(Column(key, key) for key in ("model", "suite", "task", "figure")),
        Column("latest", "latest", "estimate"),
        Column("course", "over runs", "float"),
        Column("runs", "runs", "int"),
        *(Column(key, key) for key in ("run", "endpoint")),
    )
    rows = []
    for course in index.courses:
        entry, standing = course.latest
        link = tag("a", course.name, href=f"models/{quote(files[course.model])}")
        rows.append(
            tag(
                "tr",
                words_cell(link, stub=True),
                words_cell(course.suite),
                words_cell(course.task),
                words_cell(standing.headline.title),
                number_cell(standing.figure, standing.headline.kind),
                _trend(course),
                number_cell(len(course.points), "int"),
                words_cell(_run_link(entry, "runs/")),
                words_cell(entry.endpoint(course.model)),
            )
        )
    return _card("leaderboard", [heading(column, column is columns[0]) for column in columns], rows)


def _runs(index: Index, files: Mapping[str, str]) -> Markup:
    columns = (
        *(Column(key, key) for key in ("run", "suite", "verdict", "task", "leader", "figure")),
        Column("value", "value", "estimate"),
        Column("models", "held", "int"),
        Column("endpoints", "endpoints"),
    )
    rows = []
    for entry in index.entries:
        if entry.info is None:
            continue
        boards = [list(board) for _, board in groupby(entry.standings, lambda standing: standing.task)]
        start = [words_cell(_run_link(entry, "runs/"), stub=True), words_cell(entry.suite), words_cell(_pill(entry))]
        for board in boards:
            first = board[0]
            endpoints = ", ".join(dict.fromkeys(entry.endpoint(standing.model) for standing in board))
            rows.append(
                tag(
                    "tr",
                    *start,
                    words_cell(first.task),
                    words_cell(tag("a", first.name, href=f"models/{quote(files[first.model])}")),
                    words_cell(first.headline.title),
                    number_cell(first.figure, first.headline.kind),
                    number_cell(len(board), "int"),
                    words_cell(endpoints),
                )
            )
        if not boards:
            rows.append(
                tag(
                    "tr", *start, *[words_cell("")] * 3, number_cell(None, "int"), number_cell(0, "int"), words_cell("")
                )
            )
    return _card("runs", [heading(column, column is columns[0]) for column in columns], rows)


def _unread(entries: Sequence[Entry]) -> Markup:
    rows = [tag("tr", words_cell(entry.folder, stub=True), words_cell(entry.trouble)) for entry in entries]
    return _card("unread", [heading(Column("run", "run"), True), heading(Column("why", "why"))], rows)


def _history(courses: Sequence[Course], place: int) -> Markup:
    """Return a model's heads in one task: a curve over runs where there are several, and every figure."""
    headline = courses[0].latest[1].headline
    mine = [course for course in courses if course.latest[1].headline.key == headline.key]
    runs = sorted({entry.folder: entry for course in mine for entry, _ in course.comparable}.values(), key=_moment)
    shown = runs[-LATEST:]
    blocks = []
    if len(shown) > 1:
        series = {
            course.name: tuple(_estimate(dict(_by_run(course)).get(entry.folder)) for entry in shown) for course in mine
        }
        kind = headline.kind if headline.kind in ("percent", "estimate") else "float"
        labels = tuple(entry.when for entry in shown)
        title = f"{headline.title}, {'latest ' if len(runs) > len(shown) else ''}{len(shown)} VALID runs"
        blocks.append(
            block_card(Curves(f"curve-{place}", title, labels, series, headline.title, "run, UTC", kind, chance=None))
        )
    blocks.append(_figures(courses, place))
    return join(blocks)


def _figures(courses: Sequence[Course], place: int) -> Markup:
    columns = {column.key: column for course in courses for _, standing in course.points for column in standing.columns}
    points = sorted((point for course in courses for point in course.points), key=lambda point: _moment(point[0]))
    folders = list(dict.fromkeys(entry.folder for entry, _ in reversed(points)))[:LATEST]
    several = len(courses) > 1
    rows = [
        tag(
            "tr",
            words_cell(_run_link(entry, "../runs/"), stub=True),
            *([words_cell(standing.name)] if several else []),
            words_cell(_pill(entry)),
            *(number_cell(standing.figures.get(key), column.kind) for key, column in columns.items()),
            words_cell(entry.endpoint(standing.model)),
        )
        for entry, standing in reversed(points)
        if entry.folder in folders
    ]
    heads = [
        heading(Column("run", "run"), True),
        *([heading(Column("name", "head"))] if several else []),
        heading(Column("verdict", "verdict")),
        *map(heading, columns.values()),
        heading(Column("endpoint", "endpoint")),
    ]
    return _card(f"figures-{place}", heads, rows)


def _card(name: str, heads: Sequence[str], rows: Sequence[str]) -> Markup:
    return tag("div", tag("div", grid(heads, rows), class_="scroll"), id=name, class_="card listing")


def _run_link(entry: Entry, runs: str) -> Markup:
    """Return a run's date, which leads to its report if it has one, and what it left out."""
    when = (
        tag("a", entry.when, href=f"{runs}{quote(entry.folder)}/report.html", class_="when")
        if entry.page
        else tag("span", entry.when, class_="when")
    )
    limit = entry.info.limit if entry.info else None
    return join([when, tag("small", f"{limit} a subset", title="images of each subset (--limit)") if limit else ""])


def _pill(entry: Entry) -> Markup:
    reasons = (entry.info.verdict or "").partition(":")[2].strip() if entry.info else ""
    kind = "" if entry.valid else " bad" if entry.state in ("INVALID", "failed") else " open"
    return tag("span", entry.state, class_=f"pill{kind}", title=reasons or None)


def _trend(course: Course) -> Markup:
    values = [value for _, standing in course.comparable if (value := number(standing.figure)) is not None][-LATEST:]
    if len(values) < 2:
        return number_cell(None, "float")
    kind = course.latest[1].headline.kind
    said = f"from {show_whole(values[0], kind)} to {show_whole(values[-1], kind)} over {len(values)} runs"
    return tag("td", trend(values, said), class_="n", data_v=repr(values[-1] - values[0]))


def _by_run(course: Course) -> Iterator[tuple[str, Standing]]:
    for entry, standing in course.comparable:
        yield entry.folder, standing


def _estimate(standing: Standing | None) -> Estimate | None:
    if standing is None:
        return None
    value = number(standing.figure)
    if isinstance(standing.figure, Estimate) or value is None:
        return standing.figure if isinstance(standing.figure, Estimate) else None
    return Estimate.bare(value, 0)


def _moment(entry: Entry) -> tuple[str, str]:
    return entry.when, entry.folder


def _several(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
