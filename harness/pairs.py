"""Which models a task holds against which, and whether they can be: by name and card, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.card import DERIVED, Card
from harness.errors import CardError, SuiteError, problem
from harness.models import VARIANT
from harness.names import did_you_mean
from harness.search.searcher import Searcher
from harness.spec.tasks import ClassificationTask, DetectionTask, DisagreementTask, PairSpec


@dataclass(frozen=True, slots=True)
class Roles:
    """Two models that are to disagree, by name.

    Attributes:
        white: its gradient may be followed.
        black: gives answers alone.
        gradient: entry that gradients come from; None where no searcher needs one.
    """

    white: str
    black: str
    gradient: str | None = None

    @property
    def name(self) -> str:
        """Readable: ``WHITE -> BLACK``."""
        return f"{self.white} -> {self.black}"

    @property
    def lent_gradient(self) -> bool:
        """Whether gradients come from another model than the white one."""
        return self.gradient is not None and self.gradient != f"{self.white}.gradient"

    def lent(self, searcher: Searcher) -> Roles:
        """Return the roles with the gradient that a searcher asks: another's, the pair's, or none."""
        return replace(self, gradient=(searcher.gradient or self.gradient) if searcher.needs_gradient else None)


def pairs_of(names: Sequence[str], reference: str) -> list[tuple[str, str]]:
    """Return (reference, candidate): a variant with its model, and a model with its architecture's reference.

    Raises:
        SuiteError: several models of one architecture match ``reference``.
    """
    base = [name for name in names if VARIANT not in name and fnmatchcase(name, reference)]
    references: dict[str, str] = {}
    for name in base:
        held = references.setdefault(_kind(name), name)
        if held != name:
            raise SuiteError(
                problem(f"reference {reference!r}", "one model an architecture", f"{held} and {name}", "Name it closer")
            )
    found = []
    for name in names:
        model, marked, _ = name.partition(VARIANT)
        other = model if marked else references.get(_kind(name))
        if other in names and other != name:
            found.append((str(other), name))
    return found


def classifier_pairs(task: ClassificationTask, cards: Mapping[str, Card]) -> list[tuple[str, str]]:
    """Return the pairs that a classification task compares.

    Raises:
        CardError: a model that is no classifier, or two of a pair with other classes.
        SuiteError: several references of one architecture.
    """
    for name, card in cards.items():
        if not card.classes:
            what = f"task {task.name}: model {name}"
            raise CardError(problem(what, "a card with classes", card.task, "Leave it out of the task's models"))
    pairs = pairs_of(list(cards), task.reference)
    for first, second in pairs:
        if cards[first].classes != cards[second].classes:
            what = f"models {first} and {second}"
            raise CardError(problem(what, "the same classes", "different ones", "Compare models of one set of classes"))
    return pairs


def check_detectors(task: DetectionTask, cards: Mapping[str, Card]) -> None:
    """Refuse models that tell classes in a detection task.

    Raises:
        CardError: one of them does.
    """
    for name, card in cards.items():
        if card.classes:
            what = f"task {task.name}: model {name}"
            raise CardError(problem(what, "a detector", "a classifier", "Leave it out of the task's models"))


def search_roles(task: DisagreementTask, searchers: Sequence[Searcher], cards: Mapping[str, Card]) -> list[Roles]:
    """Return the pairs that a task searches, wildcards resolved: models of one architecture meet.

    Raises:
        SuiteError: a pattern that matches nothing, no pair at all, or the same pair twice.
        CardError: two models of a pair, or a gradient, that have other classes or take other pixels.
    """
    own = any(item.needs_gradient and item.gradient is None for item in searchers)
    for item in searchers:
        _check_gradient(task, item, cards)
    found: dict[str, Roles] = {}
    for spec in task.pairs:
        for roles in _matched(task, spec, cards):
            if own:
                roles = replace(roles, gradient=_gradient(task, roles, spec, cards))
            lent = dict.fromkeys(roles.lent(item).gradient for item in searchers)
            for other in filter(None, (roles.black, *lent)):
                _check_alike(task, roles.white, other, cards)
            if roles.name in found:
                raise SuiteError(problem(f"task {task.name}: pair {roles.name}", "it once", "it twice", "Remove one"))
            found[roles.name] = roles
    return list(found.values())


def _matched(task: DisagreementTask, spec: PairSpec, cards: Mapping[str, Card]) -> list[Roles]:
    names = [name for name, card in cards.items() if card.task not in DERIVED]
    whites, blacks = (
        _matching(task, role, pattern, names) for role, pattern in (("white", spec.white), ("black", spec.black))
    )
    exact = not (_wild(spec.white) and _wild(spec.black))
    pairs = [Roles(a, b) for a in whites for b in blacks if a != b and (exact or _kind(a) == _kind(b))]
    if not pairs:
        what = f"task {task.name}: pair {spec.white} -> {spec.black}"
        raise SuiteError(problem(what, "two models of one architecture", ", ".join(names), "Name other models"))
    return pairs


def _gradient(task: DisagreementTask, roles: Roles, spec: PairSpec, cards: Mapping[str, Card]) -> str:
    """Return the entry that gives a pair's gradients."""
    pattern = spec.gradient or f"{roles.white}.gradient"
    names = [name for name, card in cards.items() if card.task == "gradient"]
    found = [name for name in names if fnmatchcase(name, pattern)]
    if len(found) > 1:
        found = [name for name in found if _kind(name) == _kind(roles.white)]
    if len(found) != 1:
        what = f"task {task.name}: gradient of {roles.white}"
        do = "Export the float model with --with-gradient, name that entry among the models, or set the pair's gradient"
        raise SuiteError(problem(what, f"one entry {pattern}", ", ".join(found or names) or "none", do))
    return found[0]


def _check_gradient(task: DisagreementTask, searcher: Searcher, cards: Mapping[str, Card]) -> None:
    """Check that the gradient a searcher transfers from is an entry of the suite."""
    name = searcher.gradient
    if name is None:
        return
    what = f"task {task.name}: gradient {name}"
    if name not in cards:
        raise SuiteError(problem(what, "an entry of the suite", "none", did_you_mean(name, list(cards))))
    if cards[name].task != "gradient":
        raise CardError(problem(what, "a gradient entry", f"a {cards[name].task} model", f"Name {name}.gradient, say"))


def _check_alike(task: DisagreementTask, name: str, other: str, cards: Mapping[str, Card]) -> None:
    """Check that two models can be asked about one image and say the same classes."""
    what = f"task {task.name}: models {name} and {other}"
    mine, theirs = cards[name], cards[other]
    if mine.outputs < 2 or (mine.outputs, mine.classes) != (theirs.outputs, theirs.classes):
        other_names = mine.outputs == theirs.outputs >= 2
        got = "others" if other_names else f"{mine.outputs} and {theirs.outputs}"
        do = "Search pairs that decide among the same classes"
        raise CardError(problem(what, "the same classes", got, do))
    if mine.preprocess.pixels != theirs.preprocess.pixels:
        sizes = " and ".join(f"{item.preprocess.resize}/{item.preprocess.crop}" for item in (mine, theirs))
        raise CardError(problem(what, "the same resize/crop", sizes, "Search pairs that are resized alike"))


def _matching(task: DisagreementTask, role: str, pattern: str, names: Sequence[str]) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern) and (VARIANT not in name or VARIANT in pattern)]
    if not found:
        what = f"task {task.name}: {role}"
        raise SuiteError(problem(what, "a model of the suite", repr(pattern), did_you_mean(pattern, names)))
    return found


def _wild(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def _kind(name: str) -> str:
    """Return the architecture in a model's name."""
    return name.partition(".")[0]
