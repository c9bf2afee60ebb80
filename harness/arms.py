"""From the wildcards of an experiment's arms to detectors, and to the twins that arms have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.card import Card
from harness.errors import SuiteError, problem
from harness.spec.tasks import DetectionTask


def detector_names(model: str, card: Card) -> list[str]:
    """Return the names of a model's detectors, one a head: ``MODEL``, or ``MODEL/HEAD`` where it has several."""
    return [model] if len(card.heads) == 1 else [f"{model}/{head.name}" for head in card.heads]


def find_arms(task: DetectionTask, names: Sequence[str]) -> dict[str, dict[tuple[str, ...], str]]:
    """Return each arm's detectors by what the wildcards of its pattern stand for, which twins have in common.

    Args:
        task: names the arms.
        names: of all detectors.

    Raises:
        SuiteError: an arm without detectors, or two arms without twins.
    """
    arms: dict[str, dict[tuple[str, ...], str]] = {}
    for arm, pattern in task.arms.items():
        expression = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
        arms[arm] = {match.groups(): name for name in names if (match := expression.fullmatch(name))}
        if not arms[arm]:
            do = "Correct the wildcard, or train and enter them first"
            raise SuiteError(problem(f"arm {arm!r} of task {task.name}", f"detectors named {pattern}", "none", do))
    for first, second in task.contrasts:
        if not arms[first].keys() & arms[second].keys():
            what, got = f"contrast of {first!r} and {second!r}", "no two whose names differ in nothing else"
            do = "Name both arms' detectors alike but for the arm"
            raise SuiteError(problem(what, "twins: the same wildcards in both arms", got, do))
    return arms
