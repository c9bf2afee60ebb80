"""Pure functions from scores to figures."""

from harness.metrics.binary import (
    Ranking,
    Rates,
    auroc,
    average_precision,
    best_threshold,
    expected_calibration_error,
    ranking,
    rates,
    threshold_at_fpr,
    tpr_at_fpr,
)

__all__ = [
    "Ranking",
    "Rates",
    "auroc",
    "average_precision",
    "best_threshold",
    "expected_calibration_error",
    "ranking",
    "rates",
    "threshold_at_fpr",
    "tpr_at_fpr",
]
