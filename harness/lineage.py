"""Which generators a task calls children of which, and whether that can be tested: told before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.card import Card
from harness.errors import SuiteError, problem
from harness.names import did_you_mean
from harness.spec.tasks import DetectionTask


def check_lineage(task: DetectionTask, generators: Sequence[str], cards: Mapping[str, Card]) -> None:
    """Refuse a lineage that can't be tested.

    Args:
        task: names children and parents.
        generators: tested ones.
        cards: of its models.

    Raises:
        SuiteError: a child or parent that is not tested, a parent without a detector, or none of another base.
    """
    if not task.lineage:
        return
    what = f"task {task.name}: lineage"
    for name in (*task.lineage, *task.lineage.values()):
        if name not in generators:
            raise SuiteError(problem(what, "tested subsets", repr(name), did_you_mean(name, list(generators))))
    alone = {head.trained_on[0] for card in cards.values() for head in card.heads if len(head.trained_on) == 1}
    bases = [name for name in generators if name in alone and name not in task.lineage]
    for parent in task.lineage.values():
        if parent not in bases:
            do = "Add a model that was trained on it alone"
            raise SuiteError(problem(what, f"a detector of {parent}", f"detectors of {', '.join(bases) or 'none'}", do))
    if len(bases) < 2:
        raise SuiteError(problem(what, "detectors of two bases or more", ", ".join(bases), "Add models of other bases"))
