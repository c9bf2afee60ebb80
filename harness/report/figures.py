"""The words and the cells that every table of detection figures shares, and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from harness.images.degrade import CLEAN
from harness.report.tree import Column, Table
from harness.stats import Estimate
from harness.tasks.detection import Detection, Figures

SHORT = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "AP",
    "tpr_at_1pct_fpr": "TPR at 1 % FPR",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "ece": "ECE",
    "accuracy": "accuracy",
    "real_accuracy": "real accuracy",
    "fake_accuracy": "fake accuracy",
}

BRIEF = {**SHORT, "balanced_accuracy": "bal. acc."}
"""Names for headings that say more than the metric."""

CROSSED = ("auroc", "balanced_accuracy")
"""What is shown over generators: a figure free of thresholds, and the published one."""


WORDS = {"cross": "new generators", "in_domain": "generators trained on"}
"""The domains in words."""


def title_of(metric: str) -> str:
    """Return a metric's name as a title begins with it."""
    return SHORT[metric][0].upper() + SHORT[metric][1:]


def kind_of(metric: str) -> Literal["estimate", "percent"]:
    """Return how a metric's figures read."""
    return "estimate" if metric == "auroc" else "percent"


def harmonised(detection: Detection) -> str | None:
    """Return the condition in which both classes were re-encoded alike; None where the task has none."""
    return detection.task.harmonise.id if detection.task.harmonise else None


def compared(detection: Detection) -> Iterator[tuple[str, str, str]]:
    """Yield the conditions that matrices are shown for: its id, the ending of a block's name, that of a title."""
    yield CLEAN, "", ""
    if (condition := harmonised(detection)) is not None:
        yield condition, "_harmonised", ", harmonised"


def shown(figures: Figures | None, metric: str) -> Estimate | None:
    """Return a figure; None where it is undefined."""
    estimate = figures.estimates.get(metric) if figures else None
    return None if estimate is None or estimate.value != estimate.value else estimate


def figures_table(detection: Detection, name: str) -> Table:
    """Return every figure of a task: one row a detector, generator and condition."""
    metrics = list(
        dict.fromkeys(key for item in detection.detectors for f in item.figures.values() for key in f.estimates)
    )
    return Table(
        f"{name}_figures",
        "All figures",
        (
            Column("detector", "detector", "text"),
            Column("generator", "generator", "text"),
            Column("condition", "condition", "text"),
            Column("domain", "domain", "text"),
            Column("reals", "reals", "int"),
            Column("fakes", "fakes", "int"),
            Column("failed", "failed", "int", "low"),
            Column("threshold", "threshold", "float"),
            *(Column(key, SHORT[key], "estimate", "low" if key == "ece" else "high") for key in metrics),
        ),
        tuple(
            {
                "detector": detector.name,
                "generator": figures.generator,
                "condition": figures.condition,
                "domain": "in-domain" if figures.in_domain else "cross",
                "reals": figures.reals,
                "fakes": figures.fakes,
                "failed": sum(figures.failures.values()),
                "threshold": detector.threshold,
                **{key: shown(figures, key) for key in metrics},
            }
            for detector in detection.detectors
            for figures in detector.figures.values()
        ),
    )
