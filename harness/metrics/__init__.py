"""Pure functions from scores to figures."""

from harness.metrics.binary import (
    Rates,
    auroc,
    average_precision,
    best_threshold,
    expected_calibration_error,
    rates,
    threshold_at_fpr,
    tpr_at_fpr,
)

__all__ = [
    "Rates",
    "auroc",
    "average_precision",
    "best_threshold",
    "expected_calibration_error",
    "rates",
    "threshold_at_fpr",
    "tpr_at_fpr",
]
