"""What a model's scores are, from the scores themselves. Pure functions over answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.probe.learned import Learned

SUM = 1e-3
"""How far probabilities of classes may be from adding up to 1."""

WIDE = 0.5
"""Range that a single probability must cover before it is taken for one."""


def score_space(ordinary: NDArray[np.floating], extreme: NDArray[np.floating]) -> Learned:
    """Return whether scores are logits or probabilities.

    Args:
        ordinary: answers to photographs, (n, scores).
        extreme: answers to inputs far from any photograph, (m, scores), m may be 0: a probability stays one there.
    """
    values = np.concatenate([ordinary, extreme]).astype(np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    count = values.shape[1]
    if not len(values):
        return Learned("logit", "unknown", "no answer is finite")
    low, high = float(values.min()), float(values.max())
    seen = f"scores from {low:.4g} to {high:.4g}"
    if low < -SUM or high > 1 + SUM:
        if count == 1:
            return Learned("logit", "low", f"{seen}: no probability; a logit or another statistic can't be told apart")
        if np.allclose(np.exp(np.minimum(values, 1.0)).sum(axis=1), 1, atol=SUM):
            return Learned("logit", "high", f"{seen}: logarithms of probabilities, whose softmax is themselves")
        return Learned("logit", "high", f"{seen}: no probabilities")
    if count > 1 and np.abs(values.sum(axis=1) - 1).max() <= SUM:
        return Learned("probability", "high", f"softmax over {count} classes: every answer adds up to 1; {seen}")
    if count > 1:
        return Learned("probability", "low", f"{seen}, not adding up to 1: {count} scores of their own")
    if high - low >= WIDE:
        return Learned("probability", "high", f"{seen}, never outside of 0..1")
    return Learned("probability", "low", f"{seen}: within 0..1, but too narrow to say")
