"""Writes a report into a folder, each file whole or not at all; the same tree gives the same bytes."""

from __future__ import annotations

from pathlib import Path

from harness.report.document import document
from harness.report.frames import csv, frame
from harness.report.html import html
from harness.report.markdown import markdown
from harness.report.style import alone, drawing
from harness.report.tree import Picture, Report, Text
from harness.store.files import write_atomic


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
    for name, text in files.items():
        write_atomic(folder / name, text.encode("utf-8", "backslashreplace"))  # what no encoding knows: an escape
    return {name: folder / name for name in files}
