"""Whether a run is as good as its baseline: expectations judged on a comparison. Compares and prints nothing.

The rule. An expectation is judged on every figure of its name: of each task, model and condition over all images, or of
each subset where it says ``per subset``. It fails only where the change is beyond what is allowed *and* more than
chance:

- a share that may fall (``accuracy: -0.5pt``) and a time that may rise (``p99: +10%``): the change itself is beyond the
  bound, and the paired test of the comparison, one-sided, rejects "not worse" at 5 %;
- a share of images (``flips: 1%``, ``agreement: 99%``): the share is beyond the bound, and so is the exact one-sided
  binomial test of the bound at 5 %;
- a number of images (``flips: 0``, ``failures: 0``): the number is beyond the bound. It is counted, not tested.

P-values of one gate hold together (Holm 1979): where nothing has changed, a gate of shares and times fails in at most
5 % of runs. What the baseline has and the run has not fails, unless that is allowed. Figures that rest on the same
answers pass untested. Times of another machine can't be judged: they are skipped, and said to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.comparison.change import POOLED, Change, Place
from harness.errors import HarnessError, problem
from harness.names import did_you_mean
from harness.spec.gate import Expectation
from harness.stats import holm
from harness.stats.paired import ALPHA

Judged = Literal["passed", "failed", "skipped"]

PRESENT = "present"
"""What every gate expects beside its figures: the tasks, models, cells and benchmarks of the baseline."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation on one figure.

    Attributes:
        expected: what was, as it is written.
        place: where.
        p: one-sided, Holm-adjusted over the gate; nan where nothing is tested.
        judged: how it ended.
        why: in words.
    """

    expected: str
    place: Place
    p: float
    judged: Judged
    why: str


def judge(
    expectations: Sequence[Expectation], changes: Sequence[Change], missing: Sequence[Place] = ()
) -> list[Outcome]:
    """Judge every expectation on every figure that it means, and that nothing is missing.

    Args:
        expectations: of the gate.
        changes: what the comparison found.
        missing: what the baseline has and the run has not, each of which fails.

    Raises:
        HarnessError: an expectation that means no figure, though nothing is missing.
    """
    absent = [Outcome(PRESENT, place, math.nan, "failed", "the baseline has it, the run has not") for place in missing]
    found = [(item, change) for item in expectations for change in _meant(item, changes, not missing)]
    tests = [_p(item, change) for item, change in found]
    tested = [place for place, p in enumerate(tests) if not math.isnan(p)]
    adjusted = dict(zip(tested, holm([tests[place] for place in tested]), strict=True))
    judged = (_judged(item, change, adjusted.get(place, math.nan)) for place, (item, change) in enumerate(found))
    return [*absent, *judged]


def passed(outcomes: Iterable[Outcome]) -> bool:
    """Whether a gate lets the run through."""
    return all(outcome.judged != "failed" for outcome in outcomes)


def _meant(expectation: Expectation, changes: Sequence[Change], complete: bool) -> list[Change]:
    mine = [change for change in changes if change.figure == expectation.figure]
    chosen = [change for change in mine if (change.place.subset != POOLED) == expectation.per_subset]
    if not chosen and complete:
        known = sorted({change.figure for change in changes})
        what, expected = f"gate {expectation}", f"a figure {expectation.key} in both runs"
        do = "Leave ` per subset` out" if mine else did_you_mean(expectation.figure, known)
        raise HarnessError(problem(what, expected, "none", do))
    return chosen


def _p(expectation: Expectation, change: Change) -> float:
    """Return the one-sided p-value of an expectation; nan where it is not tested."""
    if change.identical:
        return math.nan
    match expectation.kind:
        case "share" | "latency":
            return change.worse_p
        case "level":
            return _more_than(change, 1 - expectation.limit, 1 - change.change.value)
        case "count":
            return _more_than(change, expectation.limit, change.change.value) if expectation.unit else math.nan


def _more_than(change: Change, limit: float, share: float) -> float:
    """Return the exact binomial p-value of at least such a share where ``limit`` is true."""
    from scipy.special import bdtrc

    count = round(share * change.change.n)
    return float(bdtrc(count - 1, change.change.n, limit)) if count else 1.0


def _judged(expectation: Expectation, change: Change, p: float) -> Outcome:
    def outcome(judged: Judged, why: str) -> Outcome:
        return Outcome(str(expectation), change.place, p, judged, why)

    what = described(change)
    if change.identical:
        return outcome("passed", "identical answers")
    counted = expectation.kind == "count" and not expectation.unit
    if not counted and math.isnan(p):
        return outcome("skipped", f"{what}; not tested: {change.note or 'no p-value'}")
    if not _beyond(expectation, change):
        return outcome("passed", what)
    if counted:
        return outcome("failed", f"{what}; expected at most {expectation.said}")
    if p >= ALPHA:
        return outcome("passed", f"{what}; beyond {expectation.said}, but no more than chance")
    return outcome("failed", f"{what}; expected {expectation.said} at the worst")


def _beyond(expectation: Expectation, change: Change) -> bool:
    """Whether the change itself is worse than what is allowed."""
    match expectation.kind:
        case "share" | "latency":
            return change.loss > expectation.limit
        case "level":
            return change.change.value < expectation.limit
        case "count":
            share = change.change.value
            return (share if expectation.unit else round(share * change.change.n)) > expectation.limit


def described(change: Change) -> str:
    """Return a change in words."""
    n, value = change.change.n, change.change.value
    match change.kind:
        case "share":
            return f"{change.before:.2%} -> {change.after:.2%} ({100 * value:+.2f} pt of {n:,} images)"
        case "latency":
            return f"{1000 * change.before:.4g} ms -> {1000 * change.after:.4g} ms ({value:+.1%})"
        case "level":
            return f"{value:.2%} of {n:,} images decided alike"
        case "count":
            return (
                f"{round(value * n):,} of {n:,} {'decided otherwise' if change.figure == 'flips' else 'newly failed'}"
            )
