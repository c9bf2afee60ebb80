"""What a suite says of a load task: which images are sent, in which ways, for how long. Values only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from harness.frozen import Frozen, Several
from harness.load.scenarios import Arrivals, Concurrency, Load, Peak, Rate, parse_scenario
from harness.spec.words import Name, Split, canonical

ScenarioId = Annotated[
    str,
    canonical(lambda value: parse_scenario(value).id),
    WithJsonSchema(
        {
            "description": "`SingleStream`, `Offline`, `{MultiStream: {samples_per_query: 8}}` or"
            " `{Server: {target_qps: 20, target_latency_ms: 100}}`",
            "anyOf": [{"type": "string"}, {"type": "object"}],
        }
    ),
]
"""A scenario of MLPerf LoadGen with all its parameters, normalised to its canonical id."""


class LoadTask(Frozen):
    """How fast, and still right: requests with real images, every answer checked against the model's answer at rest.

    Attributes:
        data: name of the data set.
        models: wildcards over the suite's models.
        split: the split whose first images are sent.
        images: how many of them; requests take them in turn.
        batch: images a request of a loop; LoadGen's Offline takes the endpoint's `batch` and `concurrency`.
        concurrency: requests in flight, a closed loop each.
        rate: requests a second, an open loop each; latency counts from when a request was due.
        arrivals: of the open loops.
        scenarios: MLPerf LoadGen's; needs the extra `load`.
        peak: searches the highest rate that keeps a bound on latency.
        seconds: how long each is measured, and a step of the search.
        warmup_s: before that, under the same load and left out.
        repeats: how often each is measured.
        slo_ms: goodput is the share of requests that are answered rightly within it.
        windows: of equal length that the time is parted into.
        stable_within: the medians of the last three windows may be apart by so large a share of the least.
        tolerance: how far a score may be from its image's at rest, in units of the image's largest one where that is
            beyond 1; an answer further off is wrong.
    """

    kind: Literal["load"]
    name: Name = "load"
    data: str
    models: tuple[str, ...] = ("*",)
    split: Split = "test"
    images: PositiveInt = 16
    batch: PositiveInt = 1
    concurrency: Several[PositiveInt] = (1,)
    rate: Several[PositiveFloat] = ()
    arrivals: Arrivals = "poisson"
    scenarios: Several[ScenarioId] = ()
    peak: Peak | None = None
    seconds: PositiveFloat = 10.0
    warmup_s: NonNegativeFloat = 2.0
    repeats: PositiveInt = 1
    slo_ms: PositiveFloat | None = None
    windows: int = Field(default=5, ge=3)
    stable_within: PositiveFloat = 0.25
    tolerance: PositiveFloat = 1e-3

    @property
    def loads(self) -> tuple[Load, ...]:
        """Every way of sending requests that the task names."""
        return (
            *(Concurrency(requests=requests) for requests in self.concurrency),
            *(Rate(per_s=per_s, arrivals=self.arrivals) for per_s in self.rate),
            *map(parse_scenario, self.scenarios),
            *([self.peak] if self.peak else []),
        )

    @model_validator(mode="after")
    def _each_once(self) -> LoadTask:
        names = [load.id for load in self.loads]
        if not names:
            raise ValueError("nothing is sent: name a `concurrency`, a `rate`, `scenarios` or `peak`")
        if len(set(names)) != len(names):
            raise ValueError(f"the same load stands twice: {names}")
        return self
