"""Hints for names that are not known."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return a hint: the nearest choice, or all of them where none is near."""
    near = get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose from: {', '.join(choices)}" if choices else "Check the name"
