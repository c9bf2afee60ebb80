"""The search of a peak: which rate is tried next, from what came of those before. Sends nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_STEPS = 14
"""A search has no more steps."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried.

    Attributes:
        rate: requests a second.
        met: whether enough of them were answered rightly in time.
    """

    rate: float
    met: bool


def bracket(steps: Sequence[Step]) -> tuple[float, float]:
    """Return the highest rate that meets (0: none) and the lowest above it that misses (infinity: none)."""
    met = max((step.rate for step in steps if step.met), default=0.0)
    return met, min((step.rate for step in steps if not step.met and step.rate > met), default=math.inf)


def next_rate(steps: Sequence[Step], first: float, precision: float) -> float | None:
    """Return the rate to try next: twice or half until one meets and one misses, then their geometric mean.

    Args:
        steps: what was tried.
        first: rate to begin with.
        precision: the search ends where the two are apart by no more than this share.

    Returns:
        None where the search is over.
    """
    if not steps:
        return first
    met, missed = bracket(steps)
    if len(steps) >= MOST_STEPS or missed <= met * (1 + precision):
        return None
    if math.isinf(missed):
        return 2 * met
    return missed / 2 if met == 0 else math.sqrt(met * missed)
