"""What detectors gain from more training images, or from images of more contents: lines of points. Reads no record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.card import Card
from harness.images.degrade import CLEAN
from harness.spec.tasks import Quantity
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, holm
from harness.tasks.cross import Keep, architecture_of
from harness.tasks.detection import (
    DOMAINS,
    Detection,
    Detector,
    Figures,
    defined,
    joint_draws,
    joint_mean,
)

METRIC = "auroc"
"""Threshold-free: what a threshold costs, which few validation images set, is not what was learned."""


@dataclass(frozen=True)
class Point:
    """Detectors of one architecture that were trained on as much.

    Attributes:
        number: how many images or contents.
        detectors: in the order of the suite; of several generators, or several trainings.
    """

    number: int
    detectors: tuple[Detector, ...]


@dataclass(frozen=True)
class Line:
    """One architecture's points.

    Attributes:
        name: unique: the architecture's, with what its detectors were trained on where it has several lines.
        architecture: whose.
        trained_on: what its detectors were trained on (``gan``, ``gan + vq`` for one trained on both); at every point
            the same, so that points differ in nothing but the number.
        points: by number, ascending.
    """

    name: str
    architecture: str
    trained_on: tuple[str, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Gain:
    """What the largest number brought over a smaller one, on the same test images.

    Attributes:
        line: its name.
        domain: ``in_domain`` (generators trained on) or ``cross`` (new ones).
        start, end: the numbers.
        auroc: mean AUROC at ``end`` minus that at ``start``, with a paired bootstrap interval.
        p: two-sided, of the paired bootstrap, Holm-adjusted over all gains of the task.
    """

    line: str
    domain: str
    start: int
    end: int
    auroc: Estimate
    p: float


@dataclass(frozen=True)
class LearningCurve:
    """Detectors by how much they were trained on.

    Attributes:
        quantity: what is counted.
        lines: in the order of the suite.
        gains: of lines with more than one point.
        untold: models whose cards do not say the number.
    """

    quantity: Quantity
    lines: tuple[Line, ...]
    gains: tuple[Gain, ...]
    untold: tuple[str, ...]


def learn(detection: Detection, cards: Mapping[str, Card], quantity: Quantity) -> LearningCurve:
    """Lay out a task's detectors by how much they were trained on, as their cards say.

    An architecture has one line, with its banks' fingerprints on it as detectors of their own, unless at some numbers
    its detectors were trained on other generators than at others: then it has one for each such collection of
    generators, for a mean over other detectors says nothing of the number.

    Args:
        detection: the figures; clean images count.
        cards: by model name.
        quantity: the key of the cards' ``training`` that detectors are laid out by.
    """
    said = {name: card.training.get(quantity) for name, card in cards.items()}
    numbers = {name: number for name, number in said.items() if isinstance(number, int)}
    told: dict[str, list[Detector]] = {}
    for item in detection.detectors:
        if item.model in numbers:
            told.setdefault(architecture_of(item.model), []).append(item)
    points: dict[tuple[str, tuple[str, ...]], list[Point]] = {}
    for architecture, detectors in told.items():
        for number in sorted({numbers[item.model] for item in detectors}):
            members = tuple(item for item in detectors if numbers[item.model] == number)
            trained = tuple(sorted({" + ".join(item.head.trained_on) or "not told" for item in members}))
            points.setdefault((architecture, trained), []).append(Point(number, members))
    architectures = [name for name, _ in points]
    lines = tuple(
        Line(f"{name}: {', '.join(trained)}" if architectures.count(name) > 1 else name, name, trained, tuple(found))
        for (name, trained), found in points.items()
    )
    untold = dict.fromkeys(item.model for item in detection.detectors if item.model not in numbers)
    return LearningCurve(quantity, lines, _gains(lines), tuple(untold))


def _gains(lines: Sequence[Line]) -> tuple[Gain, ...]:
    """Hold the last point of every line against its first and against the one before it."""
    found = [
        gain
        for line in lines
        for domain in DOMAINS
        for start in sorted({0, max(0, len(line.points) - 2)})
        if len(line.points) > 1 and (gain := _gain(line, line.points[start], line.points[-1], domain)) is not None
    ]
    adjusted = holm([gain.p for gain in found])
    return tuple(replace(gain, p=p) for gain, p in zip(found, adjusted, strict=True))


def _gain(line: Line, start: Point, end: Point, domain: str) -> Gain | None:
    """Return the difference of two points, its p-value not adjusted yet; None where one of them has no figure."""
    before, after = (_figures(point, DOMAINS[domain]) for point in (start, end))
    low, high = joint_mean(before, METRIC), joint_mean(after, METRIC)
    if low is None or high is None:
        return None
    draws = joint_draws(after, METRIC) - joint_draws(before, METRIC)
    difference = Estimate.of(high.value - low.value, bootstrap_interval(draws), high.n)
    return Gain(line.name, domain, start.number, end.number, difference, bootstrap_p(draws))


def _figures(point: Point, keep: Keep) -> list[Figures]:
    """Return the figures that a point is the mean of."""
    figures = (item for detector in point.detectors for item in detector.figures.values())
    return defined((item for item in figures if item.condition == CLEAN and keep(item)), METRIC)
