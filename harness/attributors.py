"""From an attribution task's names to what they mean: sources, methods and design choices; asks no model anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict

from harness.card import Card
from harness.data.sample import NATURE
from harness.errors import CardError, SuiteError, problem
from harness.names import did_you_mean, matching, unmatched
from harness.spec.tasks import AttributionTask

FAMILY = "family"
"""The design choice that figures are grouped by."""

_SEED = re.compile(r"_s\d+(?=$|@)")

Designs = Mapping[str, Mapping[str, str]]
"""Design choices: by generator, then by the choice's name."""


def source_of(subset: str) -> str:
    """Return the source of a subset's images: ``nature:X`` is ``nature``."""
    return subset.partition(":")[0] if subset.startswith(f"{NATURE}:") else subset


def method_of(model: str) -> str:
    """Return the method that a model, or its variant, is a training of: its name without a last ``_sN``."""
    return _SEED.sub("", model)


def trainings(models: Iterable[str]) -> dict[str, list[str]]:
    """Return each method's models, in the order given."""
    found: dict[str, list[str]] = {}
    for model in models:
        found.setdefault(method_of(model), []).append(model)
    return found


def designs_of(task: AttributionTask) -> Designs:
    """Return the design choices that a task names, or those of the miniature's generators."""
    if task.designs != "miniature":
        return task.designs
    from harness.data.miniature.designs import DESIGNS

    return {name: asdict(design) for name, design in DESIGNS.items()}


def families_of(designs: Designs, sources: Iterable[str]) -> dict[str, str]:
    """Return the family of each source that has one; real images are one of their own. Empty without designs."""
    if not designs:
        return {}
    known = {name: choices[FAMILY] for name, choices in designs.items() if FAMILY in choices}
    return {name: NATURE if name == NATURE else known[name] for name in sources if name == NATURE or name in known}


def check_attributors(task: AttributionTask, cards: Mapping[str, Card], tested: Collection[str]) -> None:
    """Refuse what can't be attributed, before anything is asked.

    Args:
        task: the task.
        cards: of its models, by name.
        tested: sources of the tested images.

    Raises:
        CardError: a model that is no attributor, or knows one source alone, or another training of its method that
            knows others.
        SuiteError: a model that knows fewer than two of the tested sources, designs of a source that is not there, or
            no method to choose from.
    """
    for name, card in cards.items():
        what = f"task {task.name}: model {name}"
        if card.task != "attribution":
            raise CardError(problem(what, "an attributor", f"task {card.task}", "Leave it out of the task's models"))
        if len(card.classes) < 2:
            got, do = f"{list(card.classes)}", "Train it on several sources"
            raise CardError(problem(what, "two sources or more to tell apart", got, do))
        shared = [source for source in card.classes if source in tested]
        if len(shared) < 2:
            do = f"Test more of its sources: {', '.join(card.classes)}"
            raise SuiteError(problem(what, "two tested sources or more that it knows", f"{shared}", do))
    for method, models in trainings(cards).items():
        for model in models[1:]:
            if cards[model].classes != cards[models[0]].classes:
                what, do = f"models {models[0]} and {model}", "Train them alike, or name them apart"
                raise CardError(problem(what, f"the sources of one method, {method}", "different ones", do))
    if task.designs != "miniature":
        known = sorted({*tested, *(source for card in cards.values() for source in card.classes)})
        for name in task.designs:
            if name not in known:
                raise SuiteError(
                    problem(f"task {task.name}: designs", "a source", repr(name), did_you_mean(name, known))
                )
    candidates(task, cards, tested)


def candidates(
    task: AttributionTask, cards: Mapping[str, Card], tested: Collection[str]
) -> tuple[list[str], list[str]] | None:
    """Return the methods and the baselines that the best are chosen among: all that know every tested source.

    Returns:
        None where the task compares none.

    Raises:
        SuiteError: a wildcard that means no method, no one that knows every tested source, or one on both sides.
    """
    if not task.methods:
        return None
    every = trainings(cards)
    closed = [method for method, models in every.items() if set(tested) <= set(cards[models[0]].classes)]
    first = _meant(task, "methods", task.methods, list(every), closed)
    second = _meant(task, "baselines", task.baselines, list(every), closed)
    if both := sorted(set(first) & set(second)):
        what = f"task {task.name}: methods and baselines"
        raise SuiteError(problem(what, "each method on one side", f"{both} on both", "Name them closer"))
    return first, second


def _meant(
    task: AttributionTask, key: str, patterns: Sequence[str], every: Sequence[str], closed: Sequence[str]
) -> list[str]:
    what = f"task {task.name}: {key}"
    if (pattern := unmatched(patterns, every)) is not None:
        raise SuiteError(problem(what, "a match", f"{pattern!r}, which matches none", did_you_mean(pattern, every)))
    found = matching(patterns, closed)
    if not found:
        do = "Test fewer subsets, or train one on all of them"
        raise SuiteError(problem(what, "a method that knows every tested source", "none", do))
    return found
