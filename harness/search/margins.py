"""The margin of a label: what every search near a decision boundary measures."""

from __future__ import annotations

import numpy as np

from harness.search.requests import Floats


def margins(logits: Floats, label: int) -> Floats:
    """Return the label's logit minus the largest other one.

    Args:
        logits: (..., classes).
        label: index of the class.

    Returns:
        float32 (...): above 0 where the label is decided for.
    """
    return np.asarray(logits[..., label] - np.delete(logits, label, axis=-1).max(axis=-1), np.float32)


def margin(logits: Floats, label: int) -> float:
    """Return the same of one image's logits, (classes,)."""
    return float(margins(logits, label))
