"""Images of generators that an attributor never saw: called unknown where it is not sure enough. Reads no record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, problem
from harness.metrics.binary import auroc, threshold_at_fpr
from harness.stats import Estimate, bootstrap_interval
from harness.stats.bootstrap import bootstrap
from harness.tasks.answers import Floats
from harness.tasks.contrasts import resample_trainings
from harness.tasks.told import Told


@dataclass(frozen=True)
class OpenSet:
    """One method on sources that it does not know, averaged over its trainings.

    An image is called unknown where the probability of the answer (Hendrycks and Gimpel, ICLR 2017) lies below a
    threshold: the highest at which at most a share ``fpr`` of the calibration split's known images is called so.
    Intervals resample source images and trainings.

    Attributes:
        method: which.
        fpr: share that was asked for.
        false_alarms: share of the tested images of known sources that are called unknown.
        detected: share of the tested images that are called unknown, by unknown source.
        auroc: of that probability, tested known against tested unknown images.
    """

    method: str
    fpr: float
    false_alarms: Estimate
    detected: Mapping[str, Estimate]
    auroc: Estimate


def open_set(method: str, pairs: Sequence[tuple[Told, Told]], fpr: float, resamples: int, seed: int) -> OpenSet | None:
    """Return how a method meets sources that it does not know; None where it knows all that are tested.

    Args:
        method: its name.
        pairs: of each training, what it said on the calibration split and of the tested images.
        fpr: share of known images that may be called unknown.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        DataError: the calibration split has no answered image of a known source.
    """
    tested = pairs[0][1]
    unknown = sorted({str(name) for name in tested.truth[~tested.known]})
    if not unknown:
        return None
    values, draws = zip(*(_figures(*pair, unknown, fpr, resamples, seed) for pair in pairs), strict=True)
    means = np.mean(values, axis=0)
    known = int(tested.known.sum())
    images = [known, *(int((tested.truth == name).sum()) for name in unknown), len(tested.ids)]
    found = [
        Estimate.of(
            means[place],
            bootstrap_interval(resample_trainings(np.array(draws)[:, :, place], [0] * len(pairs), seed)),
            n,
        )
        for place, n in enumerate(images)
    ]
    return OpenSet(method, fpr, found[0], dict(zip(unknown, found[1:-1], strict=True)), found[-1])


def _figures(
    calibration: Told, tested: Told, unknown: Sequence[str], fpr: float, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return false alarms, the share detected of each unknown source, and the AUROC: (k,) and resampled (b, k)."""
    held = calibration.only(calibration.known)
    if not len(held.ids):
        do = "Name a split that has some"
        raise DataError(problem("calibration", "answered images of known sources", "none", do))
    threshold = threshold_at_fpr(_unsure(held), fpr)
    unsure, known = _unsure(tested), tested.known
    called = unsure > threshold
    groups = np.stack([known, *(tested.truth == name for name in unknown)], axis=1).astype(np.float64)

    def drawn(weights: NDArray[np.generic]) -> Floats:
        w = weights.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = (w @ (groups * called[:, None])) / (w @ groups)
        return np.concatenate([rates, auroc(unsure, ~known, w)[:, None]], axis=1)

    return drawn(np.ones((1, len(known))))[0], bootstrap(drawn, tested.clusters, resamples, seed)


def _unsure(told: Told) -> Floats:
    """Return the negative log probability of each answer, (n,)."""
    return np.asarray(-told.logs.max(axis=1, initial=-np.inf))
