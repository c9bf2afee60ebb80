"""The ways of sending requests that a suite can name: loops, MLPerf's scenarios, a search of the peak. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from harness.named import Named, read_named

Arrivals = Literal["poisson", "constant"]
"""How requests of an open loop follow each other: with exponential gaps, as of many users, or with equal ones."""


class Load(Named):
    """One way of sending requests.

    Attributes:
        open: whether requests are sent when they are due, whatever has been answered.
        driven: whether MLPerf LoadGen sends them.
    """

    open: ClassVar[bool] = False
    driven: ClassVar[bool] = False


class Concurrency(Load):
    """A closed loop: so many requests in flight, each answer followed by the next request."""

    name = "concurrency"
    telling = frozenset({"requests"})
    requests: PositiveInt


class Rate(Load):
    """An open loop: so many requests a second, sent when they are due, whether or not earlier ones are answered."""

    name = "rate"
    open = True
    per_s: PositiveFloat
    arrivals: Arrivals = "poisson"


class Peak(Load):
    """A search of the highest rate of an open loop at which a share of requests is answered rightly in time.

    Attributes:
        slo_ms: what in time means, from when a request was due.
        percentile: that share, in percent.
        arrivals: of the open loops.
        precision: the search ends where the lowest rate that misses is at most so much above the highest that meets.
    """

    name = "peak"
    open = True
    slo_ms: PositiveFloat
    percentile: float = Field(default=99.0, ge=50, lt=100)
    arrivals: Arrivals = "poisson"
    precision: float = Field(default=0.1, gt=0, le=1)


class SingleStream(Load):
    """LoadGen's SingleStream: one query of one image after the other; its figure is the 90th percentile of latency."""

    name = "SingleStream"
    driven = True


class MultiStream(Load):
    """LoadGen's MultiStream: one query of several images after the other; its figure is the 99th percentile."""

    name = "MultiStream"
    driven = True
    samples_per_query: PositiveInt = 8


class Server(Load):
    """LoadGen's Server: queries of one image with Poisson arrivals; VALID where the percentile keeps the bound."""

    name = "Server"
    open = True
    driven = True
    target_qps: PositiveFloat
    target_latency_ms: PositiveFloat
    percentile: float = Field(default=99.0, ge=50, lt=100)


class Offline(Load):
    """LoadGen's Offline: all images in one query, answered in batches; its figure is images a second."""

    name = "Offline"
    driven = True


SCENARIOS: Mapping[str, type[Load]] = {kind.name: kind for kind in (SingleStream, MultiStream, Server, Offline)}
"""MLPerf LoadGen's scenarios by name."""


def parse_scenario(value: object) -> Load:
    """Read a scenario as suites write it; raises SuiteError."""
    return read_named(value, SCENARIOS, "scenario", "Server target_qps=20 target_latency_ms=100")


def latency_column(load: str) -> str:
    """Return which column of load records is a load's latency.

    From when a request was wanted; where all are wanted at once, from when it was sent.

    Args:
        load: its id, or as a cell's name has it.
    """
    return "service" if load.startswith(Offline.name) else "seconds"
