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


@dataclass(frozen=True, slots=True)
class Ranking:
    """Figures that need no threshold, each () or (B,) float64 in [0, 1].

    Attributes:
        auroc: as :func:`auroc`.
        average_precision: as :func:`average_precision`.
        tpr: as :func:`tpr_at_fpr`, one for each rate asked for.
    """

    auroc: Floats
    average_precision: Floats
    tpr: tuple[Floats, ...]


def auroc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve; a tied pair counts one half (the Mann-Whitney statistic)."""
    return _over_curve(scores, labels, weights, _area)


def average_precision(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the average precision of the fakes: precision summed over steps of recall, not interpolated.

    It depends on the prevalence of fakes in the sample, which a report has to state.
    """
    return _over_curve(scores, labels, weights, _precision)


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, fpr: float, weights: ArrayLike | None = None) -> Floats:
    """Return the largest true positive rate whose false positive rate on the same images is at most ``fpr``.

    Never interpolated: with n reals no rate between 0 and 1/n can be told from 0.
    """
    return _over_curve(scores, labels, weights, lambda curve: _reached(curve, fpr))


def ranking(
    scores: ArrayLike, labels: ArrayLike, fprs: tuple[float, ...] = (), weights: ArrayLike | None = None
) -> Ranking:
    """Return all figures of the ROC curve at once: it is the sorting and summing that costs."""

    def figures(curve: _Curve) -> Floats:
        return np.stack([_area(curve), _precision(curve), *(_reached(curve, fpr) for fpr in fprs)], axis=-1)

    area, precision, *tpr = np.moveaxis(_over_curve(scores, labels, weights, figures), -1, 0)
    return Ranking(area, precision, tuple(tpr))


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


@dataclass(frozen=True, slots=True)
class _Curve:
    """Weight of reals and of fakes at each distinct score, (b, scores) by falling score, and their running sums."""

    real: Floats
    fake: Floats
    false: Floats
    hits: Floats

    @property
    def reals(self) -> Floats:
        return self.false[:, -1] if self.false.size else np.zeros(len(self.false))

    @property
    def fakes(self) -> Floats:
        return self.hits[:, -1] if self.hits.size else np.zeros(len(self.hits))


def _area(curve: _Curve) -> Floats:
    above = np.einsum("bn,bn->b", curve.real, curve.hits) - np.einsum("bn,bn->b", curve.real, curve.fake) / 2
    return _ratio(above, curve.reals * curve.fakes)


def _precision(curve: _Curve) -> Floats:
    called = curve.hits + curve.false
    precision = np.divide(curve.hits, called, out=np.zeros_like(called), where=called > 0)
    value = _ratio(np.einsum("bn,bn->b", curve.fake, precision), curve.fakes)
    return np.where(curve.reals > 0, value, np.nan)


def _reached(curve: _Curve, fpr: float) -> Floats:
    allowed = fpr * curve.reals * (1 + 1e-12)
    within = np.count_nonzero(curve.false <= allowed[:, None], axis=1)
    sums = np.concatenate([np.zeros((len(curve.hits), 1)), curve.hits], axis=1)
    return np.where(curve.reals > 0, _ratio(sums[np.arange(len(sums)), within], curve.fakes), np.nan)


def _over_curve(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None, statistic: Callable[[_Curve], Floats]
) -> Floats:
    """Apply ``statistic`` to the curve of each row of weights."""
    values, truth = _checked(scores, labels)
    order = np.argsort(-values, kind="stable")
    ranked, fake = values[order], truth[order].astype(np.float64)
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: ranked.size])

    def of(w: Floats) -> Floats:
        w = w[:, order]
        both, fakes = w, w * fake
        if starts.size < ranked.size:
            both, fakes = np.add.reduceat(w, starts, axis=1), np.add.reduceat(fakes, starts, axis=1)
        reals = both - fakes
        return statistic(_Curve(reals, fakes, np.cumsum(reals, axis=1), np.cumsum(fakes, axis=1)))

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
