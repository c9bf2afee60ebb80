"""Figures of a binary detector from its scores, plain or bootstrapped; never chooses a threshold on its own.

Common to every function: ``scores`` are float64 (n,), higher means fake; ``labels`` are (n,), real = 0 and fake = 1; an
image is called fake where its score is *above* the threshold. ``weights`` are non-negative, (n,) or (B, n), one row a
bootstrap resample; None weighs every image alike. The result has the weights' leading shape: () or (B,), float64. A
figure that needs both classes is nan where one has no weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import DataError, problem

Floats = NDArray[np.float64]

CHUNK = 1 << 18
"""Most weights handled at once: bounds the working memory to a few times 2 MiB whatever B is."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of right decisions, each () or (B,) float64 in [0, 1].

    Attributes:
        real_accuracy: of the real images; nan without any.
        fake_accuracy: of the fake images; nan without any.
        balanced_accuracy: mean of the two.
        accuracy: of all images, whatever their prevalence.
    """

    real_accuracy: Floats
    fake_accuracy: Floats
    balanced_accuracy: Floats
    accuracy: Floats


def auroc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve; a tied pair counts one half (the Mann-Whitney statistic)."""

    def area(real: Floats, fake: Floats) -> Floats:
        above = np.cumsum(fake, axis=1) - fake / 2
        return _ratio(np.einsum("bn,bn->b", real, above), real.sum(axis=1) * fake.sum(axis=1))

    return _over_curve(scores, labels, weights, area)


def average_precision(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the average precision of the fakes: precision summed over steps of recall, not interpolated.

    It depends on the prevalence of fakes in the sample, which a report has to state.
    """

    def area(real: Floats, fake: Floats) -> Floats:
        hits = np.cumsum(fake, axis=1)
        called = hits + np.cumsum(real, axis=1)
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        value = _ratio(np.einsum("bn,bn->b", fake, precision), fake.sum(axis=1))
        return np.where(real.sum(axis=1) > 0, value, np.nan)

    return _over_curve(scores, labels, weights, area)


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, fpr: float, weights: ArrayLike | None = None) -> Floats:
    """Return the largest true positive rate whose false positive rate on the same images is at most ``fpr``.

    Never interpolated: with n reals no rate between 0 and 1/n can be told from 0.
    """

    def rate(real: Floats, fake: Floats) -> Floats:
        false, hits = np.cumsum(real, axis=1), np.cumsum(fake, axis=1)
        reals, fakes = (part.max(axis=1, initial=0.0, keepdims=True) for part in (false, hits))
        reached = np.where(_ratio(false, reals) <= fpr, hits, 0.0).max(axis=1, initial=0.0)
        return np.where(reals[:, 0] > 0, _ratio(reached, fakes[:, 0]), np.nan)

    return _over_curve(scores, labels, weights, rate)


def rates(scores: ArrayLike, labels: ArrayLike, threshold: float, weights: ArrayLike | None = None) -> Rates:
    """Return the shares of right decisions at ``threshold``."""
    values, truth = _checked(scores, labels)
    right = (values > threshold) == truth
    columns = np.stack([~truth, truth, right & ~truth, right & truth], axis=1).astype(np.float64)
    real, fake, real_right, fake_right = np.moveaxis(_over_weights(weights, len(values), lambda w: w @ columns), -1, 0)
    real_accuracy, fake_accuracy = _ratio(real_right, real), _ratio(fake_right, fake)
    return Rates(
        real_accuracy=real_accuracy,
        fake_accuracy=fake_accuracy,
        balanced_accuracy=np.asarray((real_accuracy + fake_accuracy) / 2),
        accuracy=_ratio(real_right + fake_right, real + fake),
    )


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, weights: ArrayLike | None = None
) -> Floats:
    """Return the mean gap between the predicted probability of fake and the share of fakes.

    The binary form of Naeini et al. (AAAI 2015): ``bins`` of equal width over [0, 1], each holding its lower edge, each
    weighted by what falls into it. Unlike the other figures it needs no second class.

    Raises:
        ValueError: a probability lies outside [0, 1].
    """
    values, truth = _checked(probabilities, labels)
    if values.size and (values.min() < 0 or values.max() > 1):
        got = f"{values.min():g} to {values.max():g}"
        raise ValueError(problem("probabilities", "values in [0, 1]", got, "Map logits to probabilities first"))
    gaps = np.zeros((len(values), bins))
    gaps[np.arange(len(values)), np.minimum((values * bins).astype(np.intp), bins - 1)] = values - truth
    return _over_weights(weights, len(values), lambda w: _ratio(np.abs(w @ gaps).sum(axis=1), w.sum(axis=1)))


def threshold_at_fpr(real_scores: ArrayLike, fpr: float) -> float:
    """Return the smallest threshold that calls at most a share ``fpr`` of these reals fake; -inf where any would do.

    Raises:
        DataError: there are no reals.
    """
    values = np.sort(np.asarray(real_scores, np.float64))[::-1]
    if not values.size:
        raise DataError(problem("threshold", "real images to set it on", "none", "Name a split that has reals"))
    allowed = int(np.count_nonzero(np.arange(1, values.size + 1) / values.size <= fpr))
    return float(values[allowed]) if allowed < values.size else float("-inf")


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the threshold of the highest balanced accuracy, half-way between two scores; the highest of equals.

    On a validation split it calibrates; on the split under test it is an oracle and must be called one.

    Raises:
        DataError: a class is missing.
    """
    values, truth = _checked(scores, labels)
    if truth.all() or not truth.any():
        raise DataError(problem("threshold", "both classes", "one", "Name a split that has reals and fakes"))
    levels, group = np.unique(values, return_inverse=True)
    levels, fake, real = levels[::-1], *(np.bincount(group, weights=side)[::-1] for side in (truth, ~truth))
    gain = np.cumsum(fake / fake.sum() - real / real.sum())
    best = int(np.argmax(np.round(gain, 12)))
    if gain[best] <= 0:
        return float(levels[0])
    above = float(levels[best])
    below = float(levels[best + 1]) if best + 1 < levels.size else float(np.nextafter(above, -np.inf))
    middle = below + (above - below) / 2
    return middle if below <= middle < above else below


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Return scores as float64 and whether each image is fake; raises ValueError on what can't be scored."""
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 1 or truth.shape != values.shape:
        got = f"{values.shape} and {truth.shape}"
        raise ValueError(problem("scores and labels", "one label a score", got, "Pass two vectors of one length"))
    if np.isnan(values).any():
        raise ValueError(problem("scores", "numbers", "nan", "Leave failed images out"))
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(problem("labels", "0 (real) or 1 (fake)", str(np.unique(truth)), "Map them first"))
    return values, truth.astype(bool)


def _over_curve(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None,
    statistic: Callable[[Floats, Floats], Floats],
) -> Floats:
    """Apply ``statistic`` to the weight of reals and of fakes, (b, distinct scores) each, by falling score."""
    values, truth = _checked(scores, labels)
    order = np.argsort(-values, kind="stable")
    ranked, fake = values[order], truth[order].astype(np.float64)
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: ranked.size])

    def of(w: Floats) -> Floats:
        w = w[:, order]
        both, fakes = w, w * fake
        if starts.size < ranked.size:
            both, fakes = np.add.reduceat(w, starts, axis=1), np.add.reduceat(fakes, starts, axis=1)
        return statistic(both - fakes, fakes)

    return _over_weights(weights, len(values), of)


def _over_weights(weights: ArrayLike | None, n: int, statistic: Callable[[Floats], Floats]) -> Floats:
    """Apply ``statistic``, (b, n) -> (b, ...), to the weights chunk by chunk; the result leads with their shape."""
    given: NDArray[Any] = np.ones(n) if weights is None else np.asarray(weights)
    if given.ndim not in (1, 2) or given.shape[-1] != n:
        raise ValueError(problem("weights", f"({n},) or (B, {n})", str(given.shape), "Pass one weight an image"))
    rows = np.atleast_2d(given)
    step = max(1, CHUNK // max(n, 1))
    parts = [statistic(rows[start : start + step].astype(np.float64)) for start in range(0, len(rows), step)]
    values: Floats = np.concatenate(parts)
    return values.reshape((*given.shape[:-1], *values.shape[1:]))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, nan where the whole is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
