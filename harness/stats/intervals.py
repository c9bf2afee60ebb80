"""A figure with its interval, and the interval of a rate; never resamples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from harness.errors import problem

LEVEL = 0.95
"""Level of every interval unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a figure; both nan where it can't be bounded."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its interval and the number of images behind it.

    Attributes:
        value: the figure; nan where it is undefined.
        low, high: bounds of its interval; nan where there is none.
        n: images (for a rate, trials) that it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, value: float, interval: Interval, n: int) -> Estimate:
        """Return the estimate of ``value`` within ``interval``."""
        return cls(float(value), interval.low, interval.high, n)

    @classmethod
    def bare(cls, value: float, n: int) -> Estimate:
        """Return ``value`` without an interval."""
        return cls(float(value), math.nan, math.nan, n)

    @classmethod
    def of_rate(cls, successes: int, n: int, level: float = LEVEL) -> Estimate:
        """Return ``successes / n`` with its Wilson interval; nan where ``n`` is 0."""
        return cls.of(successes / n if n else math.nan, wilson(successes, n, level), n)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the score interval of a rate (Wilson, JASA 1927), without continuity correction.

    Args:
        successes: 0..n.
        n: independent trials; 0 gives (nan, nan).
        level: 0..1.

    Raises:
        ValueError: ``successes`` lies outside 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(problem("successes", f"0..{n}", str(successes), "Count both over the same images"))
    if n == 0:
        return Interval(math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low, high)
