"""What the harness offers in Python, under the project's name."""

from harness import LoadedRun, load_run
from harness.difference import difference

__all__ = ["LoadedRun", "difference", "load_run"]
