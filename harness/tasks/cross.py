"""Detectors of one architecture, each trained on a generator of its own: GenImage's tables from their figures.

Every table is a ``Grid``: rows of detectors or architectures, columns of generators or conditions, and what each row
comes to. Reads no record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.images.degrade import CLEAN
from harness.models import VARIANT
from harness.stats import Estimate
from harness.tasks.detection import Detection, Detector, Figures, cross_generator, in_domain, joint_mean

Keep = Callable[[Figures], bool]


@dataclass(frozen=True)
class Family:
    """The detectors of one architecture, apart from those of its variants and of its banks.

    Attributes:
        name: the architecture's, with its variant if it is one; of banks that share an architecture, the model's.
        detectors: in the order of the suite.
    """

    name: str
    detectors: tuple[Detector, ...]

    @property
    def crosses(self) -> bool:
        """Whether two of the detectors were trained on different generators."""
        return len({frozenset(item.head.trained_on) for item in self.detectors if item.head.trained_on}) > 1

    def labels(self) -> tuple[str, ...]:
        """Return what each detector was trained on; its name where that is not told or another's too."""
        told = [" + ".join(item.head.trained_on) for item in self.detectors]
        pairs = zip(told, self.detectors, strict=True)
        return tuple(words if words and told.count(words) == 1 else item.name for words, item in pairs)


@dataclass(frozen=True)
class Grid:
    """One metric over rows and columns.

    Attributes:
        metric: which.
        rows, columns: unique labels.
        cells: one figure a row and column, None where nothing was measured.
        means: each row's mean over all that its averaged cells rest on.
        diagonal: (row, column) of the cells in which every detector was trained on the tested generator.
    """

    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Estimate | None, ...], ...]
    means: tuple[Estimate | None, ...]
    diagonal: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Means:
    """Means over tested generators: those trained on, the new ones, and all of them as published tables have it."""

    inside: Estimate | None
    outside: Estimate | None
    everywhere: Estimate | None

    def of(self, domain: str) -> Estimate | None:
        """Return the mean of one of ``DOMAINS``."""
        return self.inside if domain == "in_domain" else self.outside


def families(detection: Detection) -> tuple[Family, ...]:
    """Return the detectors by architecture, in the order of the suite.

    An architecture is the first part of a model's name. A model with several heads is a family of its own, and so are
    the variants (``NAME@VARIANT``) of an architecture's models; it bears the architecture's name where it is the only
    one.
    """
    heads = [item.model for item in detection.detectors]
    groups: dict[tuple[str, str], list[Detector]] = {}
    for item in detection.detectors:
        architecture = item.model.partition(VARIANT)[0].partition(".")[0]
        own = item.model if heads.count(item.model) > 1 else architecture_of(item.model)
        groups.setdefault((architecture, own), []).append(item)
    architectures = [architecture for architecture, _ in groups]
    return tuple(
        Family(own if architectures.count(architecture) > 1 else architecture, tuple(members))
        for (architecture, own), members in groups.items()
    )


def architecture_of(model: str) -> str:
    """Return the first part of a model's name, with its variant (``resnet50@served``) if it is one."""
    name, mark, variant = model.partition(VARIANT)
    return f"{name.partition('.')[0]}{mark}{variant}"


def means(detectors: Sequence[Detector], metric: str, condition: str = CLEAN) -> Means:
    """Return the means over every (detector, generator) that was measured, diagonal and off-diagonal apart."""
    figures = [item for detector in detectors for (where, _), item in detector.figures.items() if where == condition]
    return Means(
        joint_mean(filter(in_domain, figures), metric),
        joint_mean(filter(cross_generator, figures), metric),
        joint_mean(figures, metric),
    )


def cross_matrix(
    detectors: Mapping[str, Detector], generators: Sequence[str], metric: str, condition: str = CLEAN
) -> Grid:
    """Return GenImage's table 2: each detector, by its label, on each generator."""
    rows = {label: [_figures(item, condition, name) for name in generators] for label, item in detectors.items()}
    return _grid(metric, generators, rows)


def mean_of_detectors(
    found: Sequence[Family], generators: Sequence[str], metric: str, keep: Keep = lambda _: True
) -> Grid:
    """Return GenImage's table 4: the mean over a family's detectors on each generator, clean images.

    Args:
        found: the rows.
        generators: the columns.
        metric: a bootstrapped one; detectors meet the same resamples, so that intervals are of the mean itself.
        keep: which figures count: all of them, as published, or ``cross_generator``.
    """
    rows = {
        family.name: [
            [item for detector in family.detectors for item in _figures(detector, CLEAN, name) if keep(item)]
            for name in generators
        ]
        for family in found
    }
    return _grid(metric, generators, rows)


def trained_on(detection: Detection, subset: str) -> dict[str, Detector]:
    """Return the detectors trained on one subset alone by family; by their own names where a family has several."""
    found = {
        family.name: [item for item in family.detectors if item.head.trained_on == (subset,)]
        for family in families(detection)
    }
    return {family if len(members) == 1 else item.name: item for family, members in found.items() for item in members}


def degraded(detection: Detection, metric: str) -> Grid:
    """Return GenImage's table 5: degradations of test images of the generator that detectors were trained on.

    With the task's ``trained_on`` the rows are the detectors trained on that subset alone, tested on it; otherwise
    they are families, each the mean over its detectors' own generators. A row's mean leaves the clean images out.
    """
    subset = detection.task.trained_on
    if subset is not None:
        chosen = {label: [item] for label, item in trained_on(detection, subset).items()}
    else:
        chosen = {family.name: list(family.detectors) for family in families(detection)}
    conditions = detection.task.degradations
    rows = {
        label: [
            [item for detector in members for item in detector.figures.values() if _own(item, condition, subset)]
            for condition in conditions
        ]
        for label, members in chosen.items()
    }
    return _grid(metric, conditions, {label: cells for label, cells in rows.items() if any(cells)}, _is_degraded)


def _own(figures: Figures, condition: str, subset: str | None) -> bool:
    return figures.condition == condition and figures.in_domain and subset in (None, figures.generator)


def _is_degraded(figures: Figures) -> bool:
    return figures.condition != CLEAN


def _figures(detector: Detector, condition: str, generator: str) -> list[Figures]:
    found = detector.figures.get((condition, generator))
    return [] if found is None else [found]


def _grid(
    metric: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[Sequence[Figures]]],
    averaged: Keep = lambda _: True,
) -> Grid:
    """Return the joint means of the figures in each cell and of those averaged in each row."""
    return Grid(
        metric,
        tuple(rows),
        tuple(columns),
        tuple(tuple(joint_mean(cell, metric) for cell in cells) for cells in rows.values()),
        tuple(
            joint_mean((item for cell in cells for item in cell if averaged(item)), metric) for cells in rows.values()
        ),
        frozenset(
            (i, j)
            for i, cells in enumerate(rows.values())
            for j, cell in enumerate(cells)
            if cell and all(item.in_domain for item in cell)
        ),
    )
