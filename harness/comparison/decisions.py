"""Decisions of two runs on the same images: who is right, what flipped, what failed. Knows no task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.comparison.change import Change, Place
from harness.stats import Estimate, bootstrap_mean
from harness.stats.clustered import clustered_mcnemar
from harness.tasks.answers import Ids

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Decisions:
    """What one run decided of some images.

    Attributes:
        ids, sources: what paths and clusters hash to, uint64 (n,).
        said: the decisions, (n,).
        known: whether a decision can be right or wrong, bool (n,).
        right: whether it is, bool (n,); false where that is not known.
        failed: ids of images without an answer.
    """

    ids: Ids
    sources: Ids
    said: NDArray[Any]
    known: Bools
    right: Bools
    failed: Ids


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: so many resamples, from this seed."""

    resamples: int
    seed: int


def shared(before: Ids, after: Ids) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the images that both answered are in each."""
    _, here, there = np.intersect1d(before, after, return_indices=True)
    return here, there


def decision_changes(
    place: Place, figure: str, before: Decisions, after: Decisions, identical: bool, drawn: Resampling
) -> Iterator[Change]:
    """Yield the changes of decisions: the share of right ones, ``flips``, ``agreement`` and ``failures``.

    Args:
        place: where.
        figure: name of the share of right decisions; McNemar's exact test and a bootstrap interval,
            both clustered by source image.
        before, after: of the two runs; joined by image.
        identical: whether they rest on the same answers; nothing is tested then.
        drawn: how intervals are.
    """
    here, there = shared(before.ids, after.ids)
    known = before.known[here] & after.known[there]
    if known.any():
        a, b = before.right[here][known], after.right[there][known]
        moved = b.astype(np.float64) - a
        sources = before.sources[here][known]
        yield Change(
            place,
            figure,
            float(a.mean()),
            float(b.mean()),
            Estimate(0.0, 0.0, 0.0, len(a))
            if identical
            else bootstrap_mean(moved, sources, drawn.resamples, drawn.seed),
            p=math.nan if identical else clustered_mcnemar(a, b, sources),
            identical=identical,
        )
    count = len(here)
    flips = int(np.count_nonzero(before.said[here] != after.said[there]))
    if count:
        yield Change(place, "flips", math.nan, flips, Estimate.of_rate(flips, count), identical=identical)
        agreed = Estimate.of_rate(count - flips, count)
        yield Change(place, "agreement", math.nan, agreed.value, agreed, identical=identical)
    yield failure_change(place, before.failed, after.failed, len(after.ids), identical)


def failure_change(place: Place, before: Ids, after: Ids, answered: int, identical: bool) -> Change:
    """Return the change of failures: those of images that did not fail before, as a share of all that were asked."""
    new = len(np.setdiff1d(after, before))
    asked = answered + len(np.unique(after))
    estimate = Estimate.of_rate(new, asked)
    return Change(place, "failures", len(np.unique(before)), len(np.unique(after)), estimate, identical=identical)
