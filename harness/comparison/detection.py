"""Detection of two runs: accuracy, balanced accuracy and AUROC on the same images, flips, failures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arms import detector_names
from harness.comparison.change import POOLED, Change, Place
from harness.comparison.decisions import Decisions, Resampling, decision_changes, shared
from harness.comparison.group import Asked, Group, named
from harness.data.sample import FAKE, REAL, SubsetInfo, reals_for
from harness.images.degrade import CLEAN
from harness.metrics.binary import auroc, rates
from harness.spec.tasks import DetectionTask
from harness.stats import Estimate, bootstrap_interval, bootstrap_p
from harness.stats.bootstrap import bootstrap
from harness.tasks.answers import Answers, Floats, join, read_answers
from harness.tasks.detection import calibration_of
from harness.tasks.thresholds import choose

FEWEST_SOURCES = 30
"""Source images below which a bootstrap calls too much significant; fewer are not tested."""


def detection_changes(group: Group, drawn: Resampling) -> Iterator[Change]:
    """Yield the changes of every head, under every condition: of each generator beside its reals, and of all.

    Decisions are cut by each run's own policy (the card's threshold unless its suite says otherwise). ``accuracy`` has
    McNemar's test; ``balanced_accuracy`` and ``auroc`` a bootstrap of their difference, in which both runs meet the
    same resamples. Both take images of one source together.
    """
    after = _Detector(group.after)
    before = _Detector(group.before)
    split = after.task.split
    heads = [(old, new) for new in range(len(after.names)) if (old := before.place_of(after, new)) is not None]
    for condition in group.conditions(split):
        subsets = group.subsets(split, condition)
        fakes = [name for name in subsets if after.labels[name] == FAKE]
        reals = {name for name in subsets if after.labels[name] == REAL}
        chosen = {POOLED: subsets}
        if len(fakes) > 1:
            chosen |= {name: [*reals_for(name, reals), name] for name in fakes}
        for name, part in chosen.items():
            a, b = before.answers(condition, part), after.answers(condition, part)
            failed = [item.failed(item.of(split, condition, part)) for item in (group.before, group.after)]
            same = group.identical(split, condition, part)
            for old, new in heads:
                cuts = before.threshold(old), after.threshold(new)
                place = Place(group.after.task, named(before.names[old], after.names[new]), condition, name)
                first, second = _decided(a, old, cuts[0], failed[0]), _decided(b, new, cuts[1], failed[1])
                identical = same and cuts[0] == cuts[1]
                yield from decision_changes(place, "accuracy", first, second, identical, drawn)
                yield from _ranked(place, (a, b), (old, new), cuts, identical, drawn)


class _Detector:
    """What one run's model answered, and where its heads' scores are cut."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.card = asked, asked.card
        self.task = DetectionTask.model_validate(asked.spec)
        self.names = detector_names(asked.model, asked.card)
        self.labels = {cell.subset: cell.label for cell in asked.cells}
        self._thresholds: dict[int, float] = {}

    @cached_property
    def _read(self) -> dict[tuple[str, str, str], Answers]:
        cells = self.asked.cells
        return {(c.split, c.degradation, c.subset): read_answers(self.asked.store, c, self.card) for c in cells}

    def place_of(self, other: _Detector, head: int) -> int | None:
        """Return the index of the head that another run's head is; of models with one head each, that one."""
        if len(self.card.heads) == len(other.card.heads) == 1:
            return 0
        names = [item.name for item in self.card.heads]
        name = other.card.heads[head].name
        return names.index(name) if name in names else None

    def answers(self, condition: str, subsets: Sequence[str]) -> Answers:
        return join((self._read[self.task.split, condition, name] for name in subsets), len(self.card.heads))

    def threshold(self, head: int) -> float:
        if head not in self._thresholds:
            held = calibration_of(self.task, self.card.heads[head], self._read, self._infos, len(self.card.heads))
            clean = [c.subset for c in self.asked.cells if (c.split, c.degradation) == (self.task.split, CLEAN)]
            self._thresholds[head] = choose(self.task.threshold, self.card, head, held, self.answers(CLEAN, clean))
        return self._thresholds[head]

    @property
    def _infos(self) -> list[SubsetInfo]:
        places = {(cell.subset, cell.split): cell for cell in self.asked.cells}
        return [SubsetInfo(cell.subset, cell.label, cell.split, cell.images) for cell in places.values()]


def _decided(answers: Answers, head: int, threshold: float, failed: NDArray[np.uint64]) -> Decisions:
    said = answers.scores[:, head] > threshold
    known = np.ones(len(said), bool)
    return Decisions(answers.ids, answers.sources, said, known, said == (answers.labels == FAKE), failed)


def _ranked(
    place: Place,
    answers: tuple[Answers, Answers],
    heads: tuple[int, int],
    cuts: tuple[float, float],
    identical: bool,
    drawn: Resampling,
) -> Iterator[Change]:
    """Yield the figures that need both classes, over the images that both runs answered."""
    here, there = shared(answers[0].ids, answers[1].ids)
    labels, sources = answers[1].labels[there], answers[1].sources[there]
    a, b = answers[0].scores[here, heads[0]], answers[1].scores[there, heads[1]]
    if len(np.unique(labels)) < 2:
        return

    def differences(weights: NDArray[Any]) -> Floats:
        return _figures(b, labels, cuts[1], weights) - _figures(a, labels, cuts[0], weights)

    before, after = _figures(a, labels, cuts[0]), _figures(b, labels, cuts[1])
    few = len(np.unique(sources)) < FEWEST_SOURCES
    draws = None if identical else bootstrap(differences, sources, drawn.resamples, drawn.seed)
    for index, figure in enumerate(("balanced_accuracy", "auroc")):
        yield Change(
            place,
            figure,
            float(before[index]),
            float(after[index]),
            Estimate(0.0, 0.0, 0.0, len(a))
            if draws is None
            else Estimate.of(after[index] - before[index], bootstrap_interval(draws[:, index]), len(a)),
            math.nan if draws is None or few else bootstrap_p(draws[:, index]),
            identical=identical,
            note=f"fewer than {FEWEST_SOURCES} source images" if few else "",
        )


def _figures(
    scores: Floats, labels: NDArray[np.int64], threshold: float, weights: NDArray[Any] | None = None
) -> Floats:
    balanced = rates(scores, labels, threshold, weights).balanced_accuracy
    return np.stack([balanced, auroc(scores, labels, weights)], axis=-1)
