"""Names by wildcards, hints for those that are not known, and names as parts of paths."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from harness.errors import SuiteError, problem


def matching(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names that any wildcard matches, in the order of ``names``."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def unmatched(patterns: Sequence[str], names: Collection[str]) -> str | None:
    """Return the first wildcard that matches no name; None where each matches one."""
    return next((pattern for pattern in patterns if not matching([pattern], names)), None)


def select(patterns: Sequence[str], names: Sequence[str], what: str, expected: str = "a match") -> list[str]:
    """Return the names that any wildcard matches, in the order of ``names``.

    Raises:
        SuiteError: a pattern that matches nothing.
    """
    if (pattern := unmatched(patterns, names)) is not None:
        raise SuiteError(problem(what, expected, f"{pattern!r}, which matches none", did_you_mean(pattern, names)))
    return matching(patterns, names)


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return a hint: the nearest choice, or all of them where none is near."""
    near = get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose from: {', '.join(choices)}" if choices else "Check the name"


def slug(name: str) -> str:
    """Return a name as one part of a path: letters, digits, dots and underscores, 80 at most, no dot at either end."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:80] or "image"
