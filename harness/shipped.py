"""Suites and models that come with the harness: where they lie, in a checkout and in an installed wheel. Opens none."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SuiteError, problem
from harness.names import did_you_mean

REPOSITORY = Path("model_repository")
"""The model repository of commands that are given none: in the current folder, or else the one that ships."""


def shipped_suites() -> dict[str, Path]:
    """Return the suites that ship, by name; their own paths lead to the models that ship."""
    return {path.stem: path for path in sorted((_home() / "suites").glob("*.yaml"))}


def find_suite(said: Path) -> Path:
    """Return a suite's file: the one that is said, or the shipped one of that name where there is no such file.

    Raises:
        SuiteError: there is neither, and it is a bare name or a path that ends like a shipped suite's.
    """
    suites = shipped_suites()
    named = said.stem in suites or (len(said.parts) == 1 and not said.suffix)
    if said.exists() or not named:
        return said
    if str(said) not in suites:
        expected = "a suite file, or the name of one that ships"
        raise SuiteError(problem(str(said), expected, "neither", did_you_mean(said.stem, list(suites))))
    return suites[str(said)]


def find_repository(said: Path) -> Path:
    """Return the model repository that is said; where none was and none is here, the one that ships."""
    return said if said != REPOSITORY or said.is_dir() else _home() / REPOSITORY


def _home() -> Path:
    """Return the folder of ``suites`` and ``model_repository``: the wheel's own, or the checkout."""
    package = Path(__file__).parent
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parent
