"""Trainings held against their twins: arms of an experiment and planned contrasts between them. Reads no record.

An arm is several detectors, trained alike but for the generator they were trained on and for their seed. Two arms are
paired training by training: on the same images by the same bootstrap resamples, and by what the wildcards of their
names stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.arms import find_arms
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, holm
from harness.tasks.answers import Floats
from harness.tasks.detection import DOMAINS, Detection, Detector

METRIC = "auroc"
"""Threshold-free, as what detectors are ranked by."""


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: as the task has it.
        trainings: how many.
        figures: mean AUROC over the trainings by (domain, condition); intervals resample images and trainings.
    """

    name: str
    trainings: int
    figures: Mapping[tuple[str, str], Estimate]


@dataclass(frozen=True)
class Contrast:
    """One arm minus another, pair by pair.

    Attributes:
        first, second: the arms.
        domain: ``cross`` or ``in_domain``.
        condition: of the tested images.
        pairs: trainings on either side.
        higher: pairs in which the first arm's figure is the higher one.
        difference: mean difference in AUROC; its interval resamples images and trainings.
        images_alone: the same, resampling images alone, for these very trainings.
        p: of no difference, two-sided, from the resamples behind ``difference``; Holm-adjusted over the contrasts of
            one domain.
    """

    first: str
    second: str
    domain: str
    condition: str
    pairs: int
    higher: int
    difference: Estimate
    images_alone: Estimate
    p: float


@dataclass(frozen=True)
class Experiment:
    """The arms of a task, and the contrasts between them."""

    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]


def contrast(detection: Detection, seed: int) -> Experiment | None:
    """Return a task's experiment; None where it names no arm.

    Args:
        detection: figures of all detectors; the task says which arms they are and which are held against each other.
        seed: of the resampling of trainings.

    Raises:
        SuiteError: an arm without detectors, or two arms without twins.
    """
    if not detection.task.arms:
        return None
    known = {item.name: _figures(item, detection.conditions) for item in detection.detectors}
    arms = {
        arm: {twin: known[name] for twin, name in found.items()}
        for arm, found in find_arms(detection.task, list(known)).items()
    }
    contrasts: list[Contrast] = []
    for domain in DOMAINS:
        parts = (
            _contrast(first, second, _twins(arms[first], arms[second], (domain, condition)), (domain, condition), seed)
            for first, second in dict.fromkeys(detection.task.contrasts)
            for condition in detection.conditions
        )
        found = [item for item in parts if item is not None]
        adjusted = holm([item.p for item in found])
        contrasts += [replace(item, p=p) for item, p in zip(found, adjusted, strict=True)]
    return Experiment(tuple(_arm(name, list(own.values()), seed) for name, own in arms.items()), tuple(contrasts))


def resample_trainings(draws: Floats, groups: Sequence[object], seed: int) -> Floats:
    """Return the mean over trainings, with the trainings of each group drawn anew for every resample.

    Of a group's m trainings m - 1 are drawn with replacement, which gives the mean's variance without bias (McCarthy
    and Snowden, The Bootstrap and Finite Population Sampling, 1985); a group of one stays as it is.

    Args:
        draws: values of each training, float64 (trainings, resamples); resamples of the images are joint.
        groups: what each training belongs to; its weight is the number of its trainings.
        seed: of the drawing.

    Returns:
        float64 (resamples,).
    """
    random = np.random.default_rng(seed)
    total = np.zeros(draws.shape[1])
    for group in dict.fromkeys(groups):
        own = draws[[place for place, item in enumerate(groups) if item == group]]
        chosen = random.integers(0, len(own), (max(1, len(own) - 1), draws.shape[1]))
        total += len(own) * np.take_along_axis(own, chosen, axis=0).mean(axis=0)
    return np.asarray(total / len(groups))


Place = tuple[str, str]
"""A domain and a condition."""


@dataclass(frozen=True)
class _Figure:
    """One training's mean over generators: what it was trained on, its value and resamples, images behind it."""

    group: frozenset[str]
    value: float
    draws: Floats
    images: int


_Training = Mapping[Place, _Figure]


def _figures(detector: Detector, conditions: Sequence[str]) -> _Training:
    """Return a training's figures, where it has any."""
    found = {}
    for domain, keep in DOMAINS.items():
        for condition in conditions:
            value = detector.mean(METRIC, condition, keep)
            draws = detector.mean_draws(METRIC, condition, keep)
            if value is not None and draws is not None:
                group = frozenset(detector.head.trained_on)
                found[domain, condition] = _Figure(group, value.value, draws, value.n)
    return found


def _arm(name: str, trainings: Sequence[_Training], seed: int) -> Arm:
    found = {}
    for place in dict.fromkeys(place for training in trainings for place in training):
        known = [training[place] for training in trainings if place in training]
        draws = resample_trainings(np.array([item.draws for item in known]), [item.group for item in known], seed)
        value = float(np.mean([item.value for item in known]))
        found[place] = Estimate.of(value, bootstrap_interval(draws), max(item.images for item in known))
    return Arm(name, len(trainings), found)


def _twins(
    first: Mapping[tuple[str, ...], _Training], second: Mapping[tuple[str, ...], _Training], place: Place
) -> list[tuple[_Figure, _Figure]]:
    """Return the figures of twins that both have one."""
    pairs = [(one, second[twin]) for twin, one in first.items() if twin in second]
    return [(one[place], other[place]) for one, other in pairs if place in one and place in other]


def _contrast(
    first: str, second: str, pairs: Sequence[tuple[_Figure, _Figure]], place: Place, seed: int
) -> Contrast | None:
    if not pairs:
        return None
    values = np.array([a.value - b.value for a, b in pairs])
    draws = np.array([a.draws - b.draws for a, b in pairs])
    both = resample_trainings(draws, [(a.group, b.group) for a, b in pairs], seed)
    images = max(a.images for a, _ in pairs)
    domain, condition = place
    return Contrast(
        first=first,
        second=second,
        domain=domain,
        condition=condition,
        pairs=len(pairs),
        higher=int((values > 0).sum()),
        difference=Estimate.of(float(values.mean()), bootstrap_interval(both), images),
        images_alone=Estimate.of(float(values.mean()), bootstrap_interval(draws.mean(axis=0)), images),
        p=bootstrap_p(both),
    )
