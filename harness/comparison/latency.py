"""Times of two runs by ratio: percentiles of load records, over their repeats; reads the columns that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.comparison.change import Change, Place
from harness.comparison.group import Asked, Group
from harness.comparison.noise import Aa, Noise
from harness.stats import Estimate
from harness.stats.repeats import Repeated, ratio, repeated_percentile
from harness.store.cells import CellStore

LOAD = "load"
"""The kind of task whose times are compared."""

PERCENTS: Mapping[str, float] = {"median": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}

FEWEST = 5
"""Requests of a repeat that must lie beyond a percentile for it to be told."""

PEAK = "peak"
"""A load that tries one rate after the other: its times are of no one thing."""

_COLUMNS = pa.schema(
    [("position", pa.int64()), ("error", pa.string()), ("seconds", pa.float64()), ("repeat", pa.int32())]
)


@dataclass(frozen=True)
class Times:
    """What one run measured of one load.

    Attributes:
        seconds: latencies of requests that were answered, from when each was due, (n,).
        repeat: which repeat each was of, (n,).
        failed: requests without a right answer.
    """

    seconds: NDArray[np.float64]
    repeat: NDArray[np.int64]
    failed: int

    @property
    def requests(self) -> int:
        """Requests in all."""
        return self.seconds.size + self.failed

    def percentiles(self) -> dict[str, Repeated]:
        """Return the percentiles that enough requests of each repeat lie beyond, by name."""
        parts = [self.seconds[self.repeat == value] for value in np.unique(self.repeat)]
        fewest = min((part.size for part in parts), default=0)
        known = {name: percent for name, percent in PERCENTS.items() if fewest * (100 - percent) >= 100 * FEWEST}
        return {name: repeated_percentile(parts, percent) for name, percent in known.items()}


def load_changes(group: Group, noise: Noise, same_machine: bool) -> Iterator[Change]:
    """Yield the changes of a load task: percentiles of latency by ratio, and failed requests.

    Args:
        group: one model of it.
        noise: of the machine that both runs are of.
        same_machine: whether they are; times of two machines are shown and not tested.
    """
    for name, (old, new) in _shared(group).items():
        place = Place(group.after.task, group.model, name)
        before, after = read_times(group.before, old), read_times(group.after, new)
        for figure, a, b in _paired(before, after):
            yield time_change(place, figure, a, b, noise, same_machine, old == new)
        if after.requests:
            more = Estimate.of_rate(max(0, after.failed - before.failed), after.requests)
            yield Change(place, "failures", before.failed, after.failed, more, identical=old == new)


def time_change(
    place: Place,
    figure: str,
    before: Repeated,
    after: Repeated,
    noise: Noise,
    same_machine: bool,
    identical: bool = False,
) -> Change:
    """Return the change of one time, tested against the noise between runs of the same on its machine."""
    change, p = ratio(before, after, *noise.between(figure))
    return Change(
        place,
        figure,
        math.exp(before.log),
        math.exp(after.log),
        change,
        p if same_machine and not identical else math.nan,
        identical=identical,
        note="" if same_machine else "measured on another machine",
    )


def aa_times(group: Group, runs: tuple[str, str]) -> Iterator[Aa]:
    """Yield what two runs of the same teach of the noise between runs."""
    for name, (old, new) in _shared(group).items():
        place = str(Place(group.after.task, group.model, name))
        if old != new:
            for figure, a, b in _paired(read_times(group.before, old), read_times(group.after, new)):
                variance = a.variance + b.variance
                yield Aa(runs=runs, place=place, figure=figure, log_ratio=b.log - a.log, variance=variance)


def read_times(asked: Asked, key: str) -> Times:
    """Return the records of one load."""
    table = CellStore(asked.side.root / "loads", _COLUMNS).read(key, ("seconds", "repeat"))
    good = table.filter(pc.is_null(table["error"]))
    seconds, repeat = (np.asarray(good[name].to_numpy()) for name in ("seconds", "repeat"))
    return Times(seconds.astype(np.float64), repeat.astype(np.int64), table.num_rows - good.num_rows)


def _shared(group: Group) -> dict[str, tuple[str, str]]:
    """Return the keys of the loads that both runs measured, by what they are."""
    old, new = group.keys
    return {name: (old[name], key) for name, key in new.items() if name in old and not name.startswith(PEAK)}


def _paired(before: Times, after: Times) -> Iterator[tuple[str, Repeated, Repeated]]:
    """Yield the percentiles that both have."""
    old, new = before.percentiles(), after.percentiles()
    yield from ((figure, old[figure], new[figure]) for figure in new if figure in old)
