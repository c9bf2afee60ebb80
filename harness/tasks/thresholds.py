"""Where a head's scores are cut, by the suite's policy. Tested images are looked at for `oracle` alone."""

from __future__ import annotations

import numpy as np

from harness.card import Card, Head
from harness.metrics.binary import best_threshold, threshold_at_fpr
from harness.spec.thresholds import (
    AtFprThreshold,
    CalibratedThreshold,
    CardThreshold,
    FixedThreshold,
    OracleThreshold,
    Threshold,
)
from harness.tasks.answers import Answers


def describe(policy: Threshold) -> str:
    """Return the policy in words, for reports."""
    match policy:
        case CardThreshold():
            return "the card's, set in training"
        case FixedThreshold(value=value):
            return f"fixed at {value:g}"
        case CalibratedThreshold(split=split):
            return f"best balanced accuracy on the {split} split of the head's own training subsets"
        case AtFprThreshold(fpr=fpr, split=split):
            return f"false-positive rate {fpr:g} on the reals of the {split} split"
        case OracleThreshold():
            return "ORACLE: best balanced accuracy on the tested images themselves; not a fair figure"


def choose(policy: Threshold, card: Card, head: int, calibration: Answers | None, tested: Answers) -> float:
    """Return one head's threshold on the oriented score.

    Args:
        policy: the suite's.
        card: the model's card; a card's own threshold is turned with the score.
        head: index of the head.
        calibration: answers of the calibration split, for the policies that have one.
        tested: answers on clean tested images; for ``oracle``.

    Raises:
        DataError: the calibration split lacks a class.
    """
    match policy:
        case CardThreshold():
            return _turned(card, card.heads[head])
        case FixedThreshold(value=value):
            return value
        case CalibratedThreshold() if calibration is not None:
            return best_threshold(calibration.scores[:, head], calibration.labels)
        case AtFprThreshold(fpr=fpr) if calibration is not None:
            return threshold_at_fpr(calibration.scores[calibration.labels == 0, head], fpr)
        case _:
            return best_threshold(tested.scores[:, head], tested.labels)


def _turned(card: Card, head: Head) -> float:
    return float(np.negative(head.threshold)) if card.fake == "low" else head.threshold
