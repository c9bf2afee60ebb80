"""Intervals, resampling and paired tests; pure functions."""

from harness.stats.bootstrap import (
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_p,
    cluster_weights,
    resamples,
)
from harness.stats.intervals import Estimate, Interval, wilson
from harness.stats.paired import holm, mcnemar, pairwise, ranks_with_ties

__all__ = [
    "Estimate",
    "Interval",
    "bootstrap_interval",
    "bootstrap_mean",
    "bootstrap_p",
    "cluster_weights",
    "holm",
    "mcnemar",
    "pairwise",
    "ranks_with_ties",
    "resamples",
    "wilson",
]
