"""Published tables in CSV files to claims; says of every cell that is no percentage where it stands."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import SuiteError, problem
from harness.images.degrade import parse_degradation
from harness.names import did_you_mean
from harness.spec.report import ClaimSpec, ClaimTable

ARCHITECTURE = re.compile(r"[a-z0-9_]+")


def read_claims(table: ClaimTable, folder: Path) -> tuple[ClaimSpec, ...]:
    """Return the claims of a table's file.

    Args:
        table: where the file lies and what it holds.
        folder: of the suite file; the claims' file must lie inside it, wherever links lead.

    Raises:
        SuiteError: there is no such file inside the folder, or it is not the table that it is said to be.
    """
    path = folder / table.file
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        text = path.read_text(encoding="utf-8-sig") if inside else ""
    except (OSError, ValueError, RuntimeError) as error:
        near = sorted(item.relative_to(folder).as_posix() for item in folder.glob("claims/*.csv"))
        got, do = type(error).__name__, did_you_mean(table.file, near)
        raise SuiteError(problem(f"claims {path}", "a readable CSV file", got, do)) from error
    if not inside:
        do = "Copy it beside the suite"
        raise SuiteError(problem(f"claims {table.file}", "a file inside the suite's folder", "one outside", do))
    return parse_claims(table, text, str(path))


def parse_claims(table: ClaimTable, text: str, place: str) -> tuple[ClaimSpec, ...]:
    """Return the claims in a file's text.

    Args:
        table: what the file holds.
        text: CSV with a heading.
        place: the file's name, for messages.

    Raises:
        SuiteError: it is not the table that it is said to be; names the line.
    """
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        lines = [(f"{place}:{reader.line_num}", [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise SuiteError(problem(f"{place}:{reader.line_num}", "CSV", str(error), "Correct the line")) from error
    if len(lines) < 2:
        raise SuiteError(problem(place, "a heading and a row", f"{len(lines)} lines", "Write the table into it"))
    (where, heading), *rows = lines
    _check_heading(table, where, heading)
    labels: set[str] = set()
    for where, row in rows:
        if len(row) != len(heading):
            got = f"{len(row)} cells"
            raise SuiteError(problem(where, f"{len(heading)} cells, as in the heading", got, "Complete the row"))
        if row[0] in labels or not row[0]:
            raise SuiteError(problem(where, f"another {heading[0]} in each row", repr(row[0]), "Rename or remove it"))
        labels.add(row[0])
    return tuple(claim for where, row in rows for claim in _row(table, where, heading, row))


def _check_heading(table: ClaimTable, where: str, heading: list[str]) -> None:
    first = "trained_on" if table.kind in ("cross", "in_domain") else "architecture"
    if heading[0] != first:
        do = f"Name it so, or give another kind than {table.kind}"
        raise SuiteError(problem(where, f"a first column {first}", repr(heading[0]), do))
    if len(heading) < 2 or len(set(heading)) < len(heading) or not all(heading):
        expected = "two or more columns, each with a name of its own"
        raise SuiteError(problem(where, expected, ", ".join(heading), "Name each once"))
    if table.kind == "in_domain" and len(heading) > 2:
        raise SuiteError(problem(where, "two columns", f"{len(heading)}", "Give another kind: cross has more"))


def _row(table: ClaimTable, where: str, heading: list[str], row: list[str]) -> Iterator[ClaimSpec]:
    """Yield the claims of one row: one a cell that is not empty."""
    label, names = row[0], heading[1:]
    architecture = table.architecture or label
    if not ARCHITECTURE.fullmatch(architecture):
        do = "Use a model name's first part: lower case, digits, underscore"
        raise SuiteError(problem(where, "an architecture", repr(label), do))
    for name, cell in zip(names, row[1:], strict=True):
        if not cell:
            continue
        trained_on = {"mean": tuple(names), "cross": (label,), "in_domain": (label,)}.get(table.kind)
        yield ClaimSpec(
            model=f"{architecture}.*",
            trained_on=trained_on or (table.trained_on or "",),
            subset={"degraded": table.trained_on or "", "in_domain": label}.get(table.kind, name),
            degradation=_degradation(where, name) if table.kind == "degraded" else "none",
            metric=table.metric,
            value=_fraction(where, name, cell),
            source=table.source,
        )


def _degradation(where: str, name: str) -> str:
    try:
        return parse_degradation(name).id
    except SuiteError as error:
        raise SuiteError(f"{where}: {error}") from error


def _fraction(where: str, name: str, cell: str) -> float:
    """Return a percentage as a fraction, without the digits that dividing adds."""
    try:
        percent = float(cell)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        do = "Correct it, or leave the cell empty"
        raise SuiteError(problem(f"{where}: column {name}", "a percentage in 0..100", repr(cell), do))
    return round(percent / 100, 12)
