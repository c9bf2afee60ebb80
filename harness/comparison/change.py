"""One figure of two runs: what it was, what it is, and whether the difference is more than chance; tests nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.spec.gate import FIGURES, Kind
from harness.stats import Estimate, holm
from harness.stats.paired import ALPHA

POOLED = ""
"""In the place of a subset: all images of a condition together."""

Verdict = Literal["identical", "better", "worse", "small", "chance", "untested"]


@dataclass(frozen=True, slots=True)
class Floors:
    """How large a change has to be to count.

    Attributes:
        share: of figures that are shares; 0.005 is half a point.
        latency: of times, as a ratio less one.
    """

    share: float = 0.005
    latency: float = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where a figure was taken.

    Attributes:
        task: its name.
        model: the detector's or model's name; ``BEFORE -> AFTER`` where they differ.
        condition: degradation, or what a load was.
        subset: whose images; POOLED for all.
    """

    task: str
    model: str
    condition: str
    subset: str = POOLED

    def __str__(self) -> str:
        return "/".join(filter(None, (self.task, self.model, self.subset, self.condition)))


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of two runs, over what both answered.

    Attributes:
        place: where.
        figure: one of :data:`harness.spec.gate.FIGURES`.
        before, after: its values: shares, numbers of images, or seconds. ``flips`` and ``agreement`` are of both runs
            together and have no value before.
        change: after less before with a 95 % interval; of times, after / before less one. Of ``flips``, ``agreement``
            and ``failures``, the share of images.
        p: of no difference, two-sided, unadjusted; nan where nothing is tested.
        adjusted: the same, Holm-adjusted over all tests of the comparison.
        identical: whether both runs rest on the same answers.
        note: what must be said of it.
    """

    place: Place
    figure: str
    before: float
    after: float
    change: Estimate
    p: float = math.nan
    adjusted: float = math.nan
    identical: bool = False
    note: str = ""

    @property
    def kind(self) -> Kind:
        """What the figure is."""
        return FIGURES[self.figure]

    @property
    def loss(self) -> float:
        """How much worse it became: points of a share that were lost, or a time's ratio less one."""
        return self.change.value if self.kind == "latency" else -self.change.value

    @property
    def worse_p(self) -> float:
        """The one-sided p-value of "not worse": half the two-sided one on that side."""
        return self.p / 2 if self.loss > 0 else 1 - self.p / 2

    def verdict(self, floors: Floors) -> Verdict:
        """Return what the change is: more than chance, and large enough to count."""
        if self.identical:
            return "identical"
        if math.isnan(self.adjusted):
            return "untested"
        if self.adjusted >= ALPHA:
            return "chance"
        if abs(self.loss) < (floors.latency if self.kind == "latency" else floors.share):
            return "small"
        return "worse" if self.loss > 0 else "better"


def adjust(changes: Sequence[Change]) -> list[Change]:
    """Return the changes with p-values that hold together (Holm 1979), over those that were tested."""
    tested = [place for place, change in enumerate(changes) if not math.isnan(change.p)]
    adjusted = dict(zip(tested, holm([changes[place].p for place in tested]), strict=True))
    return [replace(change, adjusted=adjusted.get(place, math.nan)) for place, change in enumerate(changes)]
