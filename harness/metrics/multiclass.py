"""Figures of a classifier from its scores, image by image, and of two classifiers on the same images.

Common to every function: ``scores`` are (n, classes), the highest one is the decision and the first of equals wins;
``targets`` are class indices (n,), below 0 where an image has none.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import problem

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FLOOR = 1e-12
"""Smallest probability: a class that a model rules out costs a finite number of nats."""


def log_probabilities(scores: ArrayLike, space: Literal["logit", "probability", "statistic"]) -> Floats:
    """Return natural logarithms of the classes' probabilities, float64 (n, classes).

    Args:
        scores: logits, or probabilities.
        space: which of them.

    Raises:
        ValueError: scores that are neither.
    """
    values = np.asarray(scores, np.float64)
    if space == "statistic":
        raise ValueError(problem("scores of a classifier", "logits or probabilities", space, "Correct its card"))
    if space == "probability":
        return np.log(np.clip(values, FLOOR, None))
    shifted = values - values.max(axis=1, keepdims=True, initial=-np.inf)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def within_top(scores: ArrayLike, targets: ArrayLike, k: int) -> Bools:
    """Return whether the target is among the ``k`` highest, the first of equals before the others; bool (n,)."""
    values, wanted = np.asarray(scores), np.asarray(targets, np.int64)
    known = wanted >= 0
    own = values[np.arange(len(values)), np.where(known, wanted, 0)][:, None]
    before = np.arange(values.shape[1])[None] < wanted[:, None]
    higher = ((values > own) | ((values == own) & before)).sum(axis=1)
    return np.asarray(known & (higher < k))


def calibration_error(
    confidence: ArrayLike, right: ArrayLike, bins: int = 15, weights: ArrayLike | None = None
) -> Floats:
    """Return the expected calibration error of the decisions (Guo et al., ICML 2017, eq. 3).

    ``bins`` of equal width over [0, 1], each holding its upper edge.

    Args:
        confidence: probability of the decided class, (n,).
        right: whether the decision is, (n,).
        bins: number of them.
        weights: non-negative, (n,) or (B, n).

    Returns:
        () or (B,) float64; nan without any weight.
    """
    values, truth = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    place = np.clip(np.ceil(values * bins).astype(np.intp) - 1, 0, bins - 1)
    gaps = np.zeros((len(values), bins))
    gaps[np.arange(len(values)), place] = truth - values
    w = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    total = w.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, np.abs(w @ gaps).sum(axis=-1) / total, np.nan))


def divergence(reference: Floats, candidate: Floats) -> Floats:
    """Return the Kullback-Leibler divergence of each image's two distributions, in nats, float64 (n,).

    Args:
        reference, candidate: log probabilities (n, classes); it is KL(reference || candidate).
    """
    total: Floats = (np.exp(reference) * (reference - candidate)).sum(axis=1)
    return np.maximum(total, 0.0)
