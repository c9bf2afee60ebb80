"""Trainings held against their twins: arms of an experiment and planned contrasts between them. Reads no record.

An arm is several detectors, trained alike but for the generator they were trained on and for their seed. Two arms are
paired training by training: on the same images by the same bootstrap resamples, and by what the wildcards of their
names stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.arms import find_arms
from harness.stats import Estimate, bootstrap_interval, bootstrap_p, holm
from harness.tasks.answers import Floats
from harness.tasks.detection import Detection, Detector, cross_generator, in_domain

METRIC = "auroc"
"""Threshold-free, as what detectors are ranked by."""

DOMAINS = {"cross": cross_generator, "in_domain": in_domain}
"""Generators new to a detector, and those that it was trained on."""


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
    detectors = {item.name: item for item in detection.detectors}
    arms = {
        arm: {twin: detectors[name] for twin, name in found.items()}
        for arm, found in find_arms(detection.task, list(detectors)).items()
    }
    twins = {
        (first, second): [(item, arms[second][twin]) for twin, item in arms[first].items() if twin in arms[second]]
        for first, second in detection.task.contrasts
    }
    found: list[Contrast] = []
    for domain in DOMAINS:
        parts = (
            _contrast(names, pairs, domain, condition, seed)
            for names, pairs in twins.items()
            for condition in detection.conditions
        )
        known = [item for item in parts if item is not None]
        adjusted = holm([item.p for item in known])
        found += [replace(item, p=p) for item, p in zip(known, adjusted, strict=True)]
    return Experiment(
        tuple(Arm(name, len(own), _figures(own.values(), detection.conditions, seed)) for name, own in arms.items()),
        tuple(found),
    )


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


@dataclass(frozen=True)
class _Figure:
    """One training's mean over generators: what it was trained on, its value and resamples, images behind it."""

    group: frozenset[str]
    value: float
    draws: Floats
    images: int


def _figure(detector: Detector, domain: str, condition: str) -> _Figure | None:
    value = detector.mean(METRIC, condition, DOMAINS[domain])
    draws = detector.mean_draws(METRIC, condition, DOMAINS[domain])
    if value is None or draws is None:
        return None
    return _Figure(frozenset(detector.head.trained_on), value.value, draws, value.n)


def _figures(detectors: Iterable[Detector], conditions: Sequence[str], seed: int) -> dict[tuple[str, str], Estimate]:
    """Return an arm's figures by (domain, condition)."""
    own = list(detectors)
    found = {}
    for place in ((domain, condition) for domain in DOMAINS for condition in conditions):
        known = [item for detector in own if (item := _figure(detector, *place)) is not None]
        if known:
            draws = resample_trainings(np.array([item.draws for item in known]), [item.group for item in known], seed)
            value = float(np.mean([item.value for item in known]))
            found[place] = Estimate.of(value, bootstrap_interval(draws), max(item.images for item in known))
    return found


def _contrast(
    names: tuple[str, str], twins: Sequence[tuple[Detector, Detector]], domain: str, condition: str, seed: int
) -> Contrast | None:
    pairs = list(_known(twins, domain, condition))
    if not pairs:
        return None
    values = np.array([a.value - b.value for a, b in pairs])
    draws = np.array([a.draws - b.draws for a, b in pairs])
    both = resample_trainings(draws, [(a.group, b.group) for a, b in pairs], seed)
    images = max(a.images for a, _ in pairs)
    return Contrast(
        *names,
        domain=domain,
        condition=condition,
        pairs=len(pairs),
        higher=int((values > 0).sum()),
        difference=Estimate.of(float(values.mean()), bootstrap_interval(both), images),
        images_alone=Estimate.of(float(values.mean()), bootstrap_interval(draws.mean(axis=0)), images),
        p=bootstrap_p(both),
    )


def _known(
    twins: Sequence[tuple[Detector, Detector]], domain: str, condition: str
) -> Iterator[tuple[_Figure, _Figure]]:
    for one, other in twins:
        a, b = _figure(one, domain, condition), _figure(other, domain, condition)
        if a is not None and b is not None:
            yield a, b
