"""Times of two runs by ratio: percentiles of load records, over their repeats; reads the columns that it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.comparison.change import Change, Place
from harness.comparison.group import Asked, Group
from harness.comparison.noise import Aa, Noise
from harness.load.scenarios import Peak, latency_column
from harness.stats import Estimate
from harness.stats.repeats import FEWEST, Repeated, block_spread, ratio, repeated_percentile

LOAD = "load"
"""The kind of task whose times are compared."""

PERCENTS: Mapping[str, float] = {"median": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}

STEADY = 0.25
"""How far medians of successive parts of a load may lie apart, as a share of the least, for it to be tested."""


@dataclass(frozen=True)
class Times:
    """What one run measured of one load.

    Attributes:
        seconds: latencies of requests that were answered, in the order of time, (n,); see :func:`latency_column`.
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
        fewest = min((part.size for part in self.parts), default=0)
        known = {name: percent for name, percent in PERCENTS.items() if fewest * (100 - percent) >= 100 * FEWEST}
        return {name: repeated_percentile(self.parts, percent) for name, percent in known.items()}

    @property
    def parts(self) -> list[NDArray[np.float64]]:
        """The latencies of each repeat."""
        return [self.seconds[self.repeat == value] for value in np.unique(self.repeat)]

    @property
    def unsteady(self) -> str:
        """Why it can't be tested; empty where it held still."""
        spread = block_spread(self.parts) if self.seconds.size else 0.0
        return f"unsteady: medians of its parts are {spread:.0%} apart" if spread > STEADY else ""


def load_changes(group: Group, noise: Noise, same_machine: bool) -> Iterator[Change]:
    """Yield the changes of a load task: percentiles of latency by ratio, and failed requests.

    Args:
        group: one model of it.
        noise: of the machine that both runs are of.
        same_machine: whether they are; times of two machines are shown and not tested.
    """
    for name, (old, new) in _shared(group).items():
        place = Place(group.after.task, group.model, name)
        before, after = read_times(group.before, name, old), read_times(group.after, name, new)
        yield from times_changes(place, before, after, noise, same_machine, old == new)
        more = Estimate.of_rate(max(0, after.failed - before.failed), after.requests)
        yield Change(place, "failures", before.failed, after.failed, more, identical=old == new)


def times_changes(
    place: Place, before: Times, after: Times, noise: Noise, same_machine: bool = True, identical: bool = False
) -> Iterator[Change]:
    """Yield the changes of percentiles that both have; of a load that did not hold still, shown and not tested."""
    why = before.unsteady or after.unsteady
    for figure, a, b in _paired(before, after):
        yield time_change(place, figure, a, b, noise, same_machine, identical, why)


def time_change(
    place: Place,
    figure: str,
    before: Repeated,
    after: Repeated,
    noise: Noise,
    same_machine: bool,
    identical: bool = False,
    why: str = "",
) -> Change:
    """Return the change of one time, tested against the noise between runs of the same on its machine.

    It is not tested where there is a reason ``why`` not to, or one repeat is too short to tell its own variance.
    """
    change, p = ratio(before, after, *noise.between(figure))
    alone = "one repeat" if math.isnan(before.variance + after.variance) else ""
    note = why or alone if same_machine else "measured on another machine"
    return Change(
        place,
        figure,
        math.exp(before.log),
        math.exp(after.log),
        change,
        math.nan if note or identical else p,
        identical=identical,
        note=note,
    )


def aa_times(group: Group, runs: tuple[str, str]) -> Iterator[Aa]:
    """Yield what two runs of the same teach of the noise between runs: of loads that can be tested."""
    for name, (old, new) in _shared(group).items():
        place = str(Place(group.after.task, group.model, name))
        before, after = read_times(group.before, name, old), read_times(group.after, name, new)
        if old == new or before.unsteady or after.unsteady:
            continue
        for figure, a, b in _paired(before, after):
            variance = a.variance + b.variance
            if not math.isnan(variance):
                yield Aa(runs=runs, place=place, figure=figure, log_ratio=b.log - a.log, variance=variance)


def timed_loads(asked: Asked) -> dict[str, str]:
    """Return the keys of loads by name, without searches of a peak: times of many rates are of no one thing."""
    return {name: key for name, key in asked.named_keys.items() if not name.startswith(Peak.name)}


def read_times(asked: Asked, name: str, key: str) -> Times:
    """Return the records of one load.

    Raises:
        StoreError: there is none.
    """
    column = latency_column(name)
    table = asked.side.records.loads.read(key, (column, "repeat"))
    asked.check_records(name, table)
    good = table.filter(pc.is_null(table["error"]))
    seconds, repeat = (np.asarray(good[each].to_numpy()) for each in (column, "repeat"))
    return Times(seconds.astype(np.float64), repeat.astype(np.int64), table.num_rows - good.num_rows)


def _shared(group: Group) -> dict[str, tuple[str, str]]:
    """Return the keys of the loads that both runs measured, by what they are."""
    old, new = timed_loads(group.before), timed_loads(group.after)
    return {name: (old[name], key) for name, key in new.items() if name in old}


def _paired(before: Times, after: Times) -> Iterator[tuple[str, Repeated, Repeated]]:
    """Yield the percentiles that both have."""
    old, new = before.percentiles(), after.percentiles()
    yield from ((figure, old[figure], new[figure]) for figure in new if figure in old)
