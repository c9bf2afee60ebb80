"""One run as the site knows it: who asked what of whom, and its leaderboards, read from run.json and report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, get_args

from pydantic import ValidationError

from harness.report.document import FORMAT
from harness.report.tree import Cell, Column, Kind
from harness.stats.intervals import Estimate
from harness.store.runs import RunInfo

BOARD = "_leaderboard"
"""How the names of those tables end whose rows compete with each other."""

SHOWN = 60
"""Characters of an address that are shown."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of a leaderboard: what a run found of one competitor.

    Attributes:
        suite, task: where; two standings compare only within one of both.
        name: of the competitor: a detector, a model, a searcher, a method.
        model: the model that it is, or is a head of; ``name`` where it is no model.
        columns: of its figures that have a better end, in the leaderboard's order.
        figures: by column key.
        headline: the column that the run is summed up by: the first that has a figure in any row.
    """

    suite: str
    task: str
    name: str
    model: str
    columns: tuple[Column, ...]
    figures: Mapping[str, Cell]
    headline: Column

    @property
    def figure(self) -> Cell:
        """The figure under the headline."""
        return self.figures.get(self.headline.key)


@dataclass(frozen=True, slots=True)
class Entry:
    """A run.

    Attributes:
        folder: its name under ``runs``.
        info: what run.json says; None where that can't be read.
        standings: rows of its leaderboards, each board's leader first.
        about: what its report says of each model.
        trouble: what could not be read, and why; empty where all could.
        page: whether it has a report to link to.
    """

    folder: str
    info: RunInfo | None
    standings: tuple[Standing, ...] = ()
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    trouble: str = ""
    page: bool = False

    @property
    def suite(self) -> str:
        """Name of its suite."""
        return str(self.info.spec.get("name", "")) if self.info else ""

    @property
    def valid(self) -> bool:
        """Whether its figures may be trusted."""
        return self.info is not None and (self.info.verdict or "").startswith("VALID")

    @property
    def state(self) -> str:
        """VALID or INVALID, or how it stands where it has not ended."""
        if self.info is None:
            return "unreadable"
        return (self.info.verdict or self.info.status).partition(":")[0]

    @property
    def when(self) -> str:
        """When it was started, to the minute, UTC."""
        return self.info.started[:16].replace("T", " ") if self.info else ""

    def endpoint(self, model: str) -> str:
        """Return what answered for a model: an address, ``triton`` of the run's own, or ``in process``."""
        for wanted in _mappings(self.info.spec.get("models") if self.info else ()):
            if fnmatchcase(model.partition("@")[0], str(wanted.get("name", ""))) and wanted.get("endpoint"):
                said = wanted["endpoint"]
                address = ", ".join(map(str, said)) if isinstance(said, list) else str(said)
                return address if len(address) <= SHOWN else f"{address[: SHOWN - 1]}…"
        return "triton" if self.info and self.info.served else "in process"


def read_entry(folder: str, run_json: bytes, report_json: bytes | None, page: bool = False) -> Entry:
    """Read one run; what can't be read is told in the entry and never raised.

    Args:
        folder: its name under ``runs``.
        run_json, report_json: contents of the two files; None where a run has no report.
        page: whether it has a report to link to.
    """
    try:
        info = RunInfo.model_validate_json(run_json)
    except ValidationError as error:
        return Entry(folder, None, trouble=f"run.json: {error.errors()[0]['msg']}", page=page)
    if report_json is None:
        return Entry(folder, info, page=page)
    try:
        report = json.loads(report_json)
        if report["format"] != FORMAT:
            raise ValueError(f"format {report['format']}, not {FORMAT}")
        tables = [block for part in report["sections"] for block in part["blocks"] if block["type"] == "table"]
        about = {
            str(row["model"]): {key: value for key, value in row.items() if isinstance(value, str)}
            for table in tables
            if table["name"] == "models"
            for row in table["rows"]
        }
        standings = [
            row for table in tables if str(table["name"]).endswith(BOARD) for row in _standings(table, info, about)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Entry(folder, info, trouble=f"report.json: {type(error).__name__}: {error}", page=page)
    return Entry(folder, info, tuple(standings), about, page=page)


def _standings(table: Mapping[str, Any], info: RunInfo, about: Mapping[str, Any]) -> list[Standing]:
    """Return the ranked rows of one leaderboard."""
    columns = [_column(item) for item in table["columns"]]
    figures = tuple(column for column in columns if column.better)
    rows = [{column.key: _cell(row.get(column.key)) for column in columns} for row in table["rows"]]
    ranked = [row for row in rows if row.get("rank") is not None or all(column.key != "rank" for column in columns)]
    headline = next((column for column in figures if any(_known(row[column.key]) for row in ranked)), None)
    if headline is None:
        return []
    suite, task = str(info.spec.get("name", "")), _task(table, info)
    named = []
    for row in ranked:
        name = _name(columns, row)
        base = name.partition("/")[0]
        model = base if base in about else name
        kept = {column.key: row[column.key] for column in figures}
        named.append(Standing(suite, task, name, model, figures, kept, headline))
    return named


def _task(table: Mapping[str, Any], info: RunInfo) -> str:
    """Return the task that a leaderboard is of, and what part of it where it has several."""
    board, title = str(table["name"]).removesuffix(BOARD), str(table["title"])
    names = [str(task.get("name", "")) for task in _mappings(info.spec.get("tasks"))]
    task = max((name for name in names if board == name or board.startswith(f"{name}_")), key=len, default=board)
    return task if board == task else f"{task}: {title}"


def _name(columns: Sequence[Column], row: Mapping[str, Cell]) -> str:
    """Return what a row is of: its words before its first figure."""
    words = []
    for column in columns:
        if column.kind == "text" and column.title and row[column.key]:
            words.append(str(row[column.key]))
        elif column.better:
            break
    return " · ".join(words) or "unnamed"


def _column(said: Mapping[str, Any]) -> Column:
    kind, better = said["kind"], said["better"]
    if kind not in get_args(Kind) or better not in ("high", "low", None):
        raise ValueError(f"a column of kind {kind!r}, better {better!r}")
    return Column(str(said["key"]), str(said["title"]), kind, better)


def _cell(value: object) -> Cell:
    if isinstance(value, dict):
        figure, low, high = (math.nan if value[key] is None else float(value[key]) for key in ("value", "low", "high"))
        return Estimate(figure, low, high, int(value["n"]))
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a cell of type {type(value).__name__}")


def _known(cell: Cell) -> bool:
    value = cell.value if isinstance(cell, Estimate) else cell
    return isinstance(value, int | float) and math.isfinite(value)


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
