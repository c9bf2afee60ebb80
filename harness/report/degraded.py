"""Detection under degradations laid out: GenImage's table and a curve a family of operations. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.images.degrade import CLEAN
from harness.named import THEN
from harness.report.cross import grid_table
from harness.report.figures import CROSSED, SHORT, WORDS
from harness.report.tree import Block, Curves
from harness.tasks.cross import degraded, families, means
from harness.tasks.detection import Detection, Detector


def degraded_blocks(detection: Detection, name: str) -> Iterator[Block]:
    """Lay out a task with more conditions than the clean one; ``name`` begins its blocks' names."""
    subset = detection.task.trained_on
    words = f"Trained on {subset}, degraded images of {subset}" if subset else "Degraded images of the generators known"
    for metric in CROSSED:
        grid = degraded(detection, metric)
        if grid.rows:
            title = f"{words}: {SHORT[metric]}"
            block, mean = f"{name}_degraded_{metric}", "mean of degraded"
            yield grid_table(grid, block, title, "architecture", mean, brief(grid.columns))
    yield from _curves(detection, name)


def brief(conditions: Sequence[str]) -> dict[str, str]:
    """Return headings: an operation's parameters without those in which all of the task's conditions of it agree."""
    same: dict[str, set[str]] = {}
    alone = [item.split() for item in conditions if item != CLEAN and THEN not in item]
    for operation, *parameters in alone:
        same[operation] = same.get(operation, set(parameters)) & set(parameters)
    several = {operation for operation, *_ in alone if sum(item[0] == operation for item in alone) > 1}
    return {CLEAN: "clean"} | {
        " ".join(item): " ".join(word for word in item if item[0] not in several or word not in same[item[0]])
        for item in alone
    }


def _curves(detection: Detection, name: str) -> Iterator[Curves]:
    """One picture a family of operations, each starting from the clean images."""
    operations: dict[str, list[str]] = {}
    for condition in detection.task.degradations:
        if condition != CLEAN:
            operations.setdefault("chain" if THEN in condition else condition.split()[0], []).append(condition)
    lines = _lines(detection)
    points = {
        (label, condition): means(detectors, "auroc", condition)
        for label, detectors in lines.items()
        for condition in detection.task.degradations
    }
    short = brief(detection.task.degradations)
    for where in ("in_domain", "cross"):
        for operation, members in operations.items():
            conditions = [CLEAN, *members]
            series = {label: tuple(points[label, item].of(where) for item in conditions) for label in lines}
            known = {label: values for label, values in series.items() if any(value is not None for value in values)}
            if known:
                yield Curves(
                    name=f"{name}_{operation}_{where}",
                    title=f"AUROC under {operation}: {WORDS[where]}",
                    x_labels=tuple(short.get(item, item).removeprefix(f"{operation} ") for item in conditions),
                    series=known,
                    y_title="AUROC",
                )


def _lines(detection: Detection) -> dict[str, Sequence[Detector]]:
    """Return one line a detector, or an architecture where several of them have detectors of several generators."""
    found = families(detection)
    if sum(family.crosses for family in found) > 1:
        return {family.name: family.detectors for family in found}
    return {item.name: (item,) for item in detection.detectors}
