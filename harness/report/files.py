"""Writes a report into a folder, each file whole or not at all; the same tree gives the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import StoreError, problem
from harness.report.document import document
from harness.report.frames import csv, frame
from harness.report.html import html
from harness.report.markdown import markdown
from harness.report.style import alone, drawing
from harness.report.tree import Picture, Report, Text


def render(report: Report) -> dict[str, str]:
    """Return every file of the report: its text by its path within the folder, ``/``-separated."""
    tables = {
        f"tables/{block.name}.csv": csv(table)
        for block in report.blocks()
        if not isinstance(block, Text) and (table := frame(block)) is not None
    }
    pictures = {
        f"pictures/{block.name}.svg": alone(drawing(block)) for block in report.blocks() if isinstance(block, Picture)
    }
    return {
        "report.html": html(report),
        "report.md": markdown(report),
        "report.json": document(report),
        **tables,
        **pictures,
    }


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Write ``report.html``, ``report.md``, ``report.json``, ``tables/*.csv`` and ``pictures/*.svg``.

    Returns:
        Their paths by those names.

    Raises:
        StoreError: the folder can't be written.
    """
    files = render(report)
    try:
        for name, text in files.items():
            _replace(folder / name, text)
    except OSError as error:
        do = "Free space there, or name another folder"
        raise StoreError(problem(f"report {folder}", "a folder that can be written", str(error), do)) from error
    return {name: folder / name for name in files}


def _replace(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` as UTF-8 in one step; what no encoding knows is written as an escape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
