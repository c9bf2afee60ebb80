"""From figures to terminal, Markdown, CSV, JSON and HTML."""

from harness.report.files import render, write_report
from harness.report.terminal import print_report

__all__ = ["print_report", "render", "write_report"]
