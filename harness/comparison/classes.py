"""Classification and attribution of two runs: top-1 or accuracy of the same images, flips, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.comparison.change import POOLED, Change, Place
from harness.comparison.decisions import Decisions, Resampling, decision_changes
from harness.comparison.group import Asked, Group
from harness.plan import Cell
from harness.spec.tasks import AttributionTask, ClassificationTask
from harness.tasks.classification import judge
from harness.tasks.told import read_told


def classification_changes(group: Group, drawn: Resampling) -> Iterator[Change]:
    """Yield the changes of a classification task; ``top1`` where images have targets."""
    yield from _changes(group, ClassificationTask.model_validate(group.after.spec).split, "top1", drawn)


def attribution_changes(group: Group, drawn: Resampling) -> Iterator[Change]:
    """Yield the changes of an attribution task; ``accuracy`` over images of sources that the model knows."""
    yield from _changes(group, AttributionTask.model_validate(group.after.spec).split, "accuracy", drawn)


def _changes(group: Group, split: str, figure: str, drawn: Resampling) -> Iterator[Change]:
    read = _classified if figure == "top1" else _attributed
    for condition in group.conditions(split):
        subsets = group.subsets(split, condition)
        chosen = [(POOLED, subsets), *(((name, [name]) for name in subsets) if len(subsets) > 1 else ())]
        for name, part in chosen:
            place = Place(group.after.task, group.model, condition, name)
            identical = group.identical(split, condition, part)
            after = read(group.after, group.after.of(split, condition, part))
            before = after if identical else read(group.before, group.before.of(split, condition, part))
            yield from decision_changes(place, figure, before, after, identical, drawn)


def _classified(asked: Asked, cells: Sequence[Cell]) -> Decisions:
    found = judge(cells, asked.card, asked.store)
    return Decisions(
        found.ids, found.sources, found.predicted, found.known, found.right & found.known, asked.failed(cells)
    )


def _attributed(asked: Asked, cells: Sequence[Cell]) -> Decisions:
    found = read_told(asked.store, cells, asked.card)
    return Decisions(found.ids, found.clusters, found.said, found.known, found.truth == found.said, asked.failed(cells))
