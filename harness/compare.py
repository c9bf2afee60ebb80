"""Two runs to paired differences of every figure that both have; reads records, never a report, and asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from harness.baselines import Side
from harness.comparison.change import Change, Place, adjust
from harness.comparison.classes import attribution_changes, classification_changes
from harness.comparison.decisions import Resampling
from harness.comparison.detection import detection_changes
from harness.comparison.group import Asked, Group
from harness.comparison.latency import LOAD, aa_times, load_changes
from harness.comparison.noise import Aa, Noise, machine_of
from harness.errors import HarnessError, StoreError, problem
from harness.events import Events
from harness.names import did_you_mean

DECIDING: Mapping[str, Callable[[Group, Resampling], Iterator[Change]]] = {
    "detection": detection_changes,
    "classification": classification_changes,
    "attribution": attribution_changes,
}
"""Tasks whose answers are compared image by image, by kind."""


@dataclass(frozen=True)
class Comparison:
    """Two runs held against each other.

    Attributes:
        before, after: ids of the runs.
        changes: every figure that both have; p-values hold together (Holm over all that were tested).
        identical: cells that both runs share, answers included.
        cells: cells of the second run that were compared.
        notes: what must be said: tasks and models that only one of them has, machines that differ.
        missing: tasks, models and cells that the first run has and the second one has not.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    identical: int
    cells: int
    notes: tuple[str, ...]
    missing: tuple[Place, ...] = ()


def compare(
    before: Side, after: Side, events: Events, models: Mapping[str, str] | None = None, noise: Noise | None = None
) -> Comparison:
    """Hold a run against an earlier one.

    Records are joined by the image's path, task by task and condition by condition; cells that share a key and their
    answers are not tested. Resamples and seed are the second run's.

    Args:
        before, after: the runs.
        events: told of progress.
        models: names in ``before`` by those in ``after``, where they differ.
        noise: how much times differ between runs of the same on this machine; None for what is assumed of any.

    Raises:
        HarnessError: nothing is common, or a run keeps no cards or no records.
    """
    renamed = dict(models or {})
    _check_names(renamed, before, after)
    drawn = Resampling(*after.resampling)
    same_machine = machine_of(before.info.environment) == machine_of(after.info.environment)
    asked, missing, notes = _asked(before, after, renamed)
    changes: list[Change] = []
    identical = cells = moved = 0
    events.begin("comparing", len(asked), "models")
    try:
        with _of_one_piece(before, after):
            for done, (task, was, name) in enumerate(asked):
                group = Group(Asked(before, task, was), Asked(after, task, name))
                identical, cells = identical + len(group.alike), cells + len(group.after.named_keys)
                moved += len(group.common - group.alike)
                missing += _missing_cells(group)
                events.advance(done, len(asked), group.model)
                kind = group.after.spec["kind"]
                if kind == LOAD:
                    changes += load_changes(group, noise or Noise(), same_machine)
                else:
                    changes += DECIDING[kind](group, drawn)
    finally:
        events.end()
    if not changes:
        do = "Name two runs of one suite, or map models: --model BEFORE=AFTER"
        raise HarnessError(problem(f"{before.info.id} and {after.info.id}", "tasks in common", "none", do))
    if moved:
        notes.append(
            f"{moved} cells of the same weights, images and settings were answered otherwise than before: by other code"
            " or another machine."
        )
    if not same_machine:
        notes.append("The runs are of different machines: times are shown, and not tested.")
    notes += [f"{place} is in {before.info.id} alone." for place in missing]
    return Comparison(
        before.info.id, after.info.id, tuple(adjust(changes)), identical, cells, tuple(notes), tuple(missing)
    )


def compare_alike(before: Side, after: Side) -> list[Aa]:
    """Return what two runs of the same teach of the noise of times between runs.

    Raises:
        HarnessError: they are not of one suite on one machine, or measured no times.
    """
    what = f"{before.info.id} and {after.info.id}"
    if before.info.spec != after.info.spec:
        raise HarnessError(problem(what, "two runs of the same suite", "two suites", "Run one suite twice"))
    if machine_of(before.info.environment) != machine_of(after.info.environment):
        raise HarnessError(problem(what, "two runs on one machine", "two machines", "Run both on this one"))
    runs = before.info.id, after.info.id
    asked, _, _ = _asked(before, after, {})
    groups = (Group(Asked(before, task, was), Asked(after, task, name)) for task, was, name in asked)
    with _of_one_piece(before, after):
        seen = [item for group in groups if group.after.spec["kind"] == LOAD for item in aa_times(group, runs)]
    if not seen:
        do = "Add a task of kind load, and run the suite twice"
        raise HarnessError(problem(what, "times of two measurements", "none", do))
    return seen


@contextmanager
def _of_one_piece(before: Side, after: Side) -> Iterator[None]:
    """Refuse, with StoreError, runs whose run.json tells of other records than there are, or of what no suite can."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what, got = f"{before.info.id} and {after.info.id}", f"{type(error).__name__}: {str(error)[:200]}"
        do = "Run the suite again with this version; what was answered is not asked again"
        raise StoreError(problem(what, "a run.json and records that fit together", got, do)) from error


def _asked(
    before: Side, after: Side, renamed: Mapping[str, str]
) -> tuple[list[tuple[str, str, str]], list[Place], list[str]]:
    """Return what both runs asked (task, model then, model now), what the first one alone did, and what to say."""
    asked: list[tuple[str, str, str]] = []
    missing = [Place(task, "", "") for task, spec in before.tasks.items() if _kind(after, task) != spec["kind"]]
    notes: list[str] = []
    itself = bool(renamed) and before.info.id == after.info.id  # one of its models is held against another
    for task, spec in after.tasks.items():
        if spec["kind"] not in (*DECIDING, LOAD):
            notes.append(f"Task {task} ({spec['kind']}) is not compared.")
            continue
        if _kind(before, task) != spec["kind"]:
            notes.append(f"Task {task} is in {after.info.id} alone.")
            continue
        old = before.models(task)
        meeting = {name: renamed.get(name, name) for name in after.models(task) if name in renamed or not itself}
        asked += [(task, was, name) for name, was in meeting.items() if was in old]
        if seen := _other_data(before, after, task):
            notes.append(seen)
        if alone := [name for name, was in meeting.items() if was not in old]:
            notes.append(f"Task {task}: {after.info.id} alone asked {', '.join(alone)}.")
        missing += [Place(task, name, "") for name in old if name not in meeting.values() and not itself]
    return asked, missing, notes


def _other_data(before: Side, after: Side, task: str) -> str:
    """Return what to say where a task's data set has another content now; empty where not, or where nobody knows."""
    old, new = (side.info.data.get(side.tasks[task]["data"], "") for side in (before, after))
    if not old or not new or old == new:
        return ""
    return (
        f"Task {task}: data {after.tasks[task]['data']} is not what it was (digest {old[:8]}, now {new[:8]}): images"
        " are joined by path, whatever they show now."
    )


def _kind(side: Side, task: str) -> str | None:
    return side.tasks[task]["kind"] if task in side.tasks else None


def _missing_cells(group: Group) -> list[Place]:
    """Return the cells that the first run alone has; batches may differ."""
    task, model = group.after.task, group.model
    if group.after.spec["kind"] == LOAD:
        old, new = group.keys
        return [Place(task, model, name) for name in old if name not in new]
    keys = (key for key in group.before.keys if key not in group.after.keys)
    return [Place(task, model, f"{split}/{condition}", subset) for split, condition, subset in keys]


def _check_names(renamed: Mapping[str, str], before: Side, after: Side) -> None:
    for new, old in renamed.items():
        for name, side in ((old, before), (new, after)):
            known = sorted({model for task in side.tasks for model in side.models(task)})
            if name not in known:
                what = f"--model {old}={new}"
                raise HarnessError(problem(what, f"a model of {side.info.id}", repr(name), did_you_mean(name, known)))
