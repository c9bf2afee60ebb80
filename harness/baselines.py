"""Runs as comparisons read them: run.json and records, among all runs or alone in a baseline; asks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

from harness.card import Card
from harness.errors import RunInvalid, StoreError, problem
from harness.store.cells import CellStore
from harness.store.files import write_atomic
from harness.store.runs import RunInfo, RunStore

RUN, RUNS = "run.json", "runs"

STORES = ("cells", "loads")
"""Folders of records that comparisons read, below a run's root and inside a baseline."""

COPY = "Copy the run with its records: harness baseline RUN --to DIR"
"""What to do where a run.json came alone."""


class _Task(BaseModel):
    """What is read of a task; kinds read the rest."""

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    data: str = ""


class _Resampling(BaseModel):
    """What is read of a suite beside its tasks."""

    resamples: Annotated[int, Field(ge=1, le=20_000)]
    seed: NonNegativeInt


_TASKS = TypeAdapter(tuple[_Task, ...])


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared.

    Attributes:
        info: what its run.json holds.
        root: folder that holds its records, where they are not at a URL.
    """

    info: RunInfo
    root: Path

    @property
    def answers(self) -> CellStore:
        """What models answered of images."""
        return self.records.cells

    @cached_property
    def records(self) -> RunStore:
        """Where its records are."""
        return RunStore(self.root, self.info.records)

    @property
    def place(self) -> Path | str:
        """What tells it from other places of records: the URL, or the folder with no link in its path."""
        return self.info.records or self.root.resolve()

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """What its suite says of each task, by name.

        Raises:
            StoreError: its run.json says nothing of the sort.
        """
        try:
            found = _TASKS.validate_python(self.info.spec.get("tasks"))
        except ValidationError as error:
            raise self._unlike("tasks with a name and a kind", error) from error
        return {task.name: task.model_dump() for task in found}

    @property
    def resampling(self) -> tuple[int, int]:
        """How many resamples its intervals are of, and their seed. Raises StoreError where run.json does not say."""
        try:
            said = _Resampling.model_validate(self.info.spec)
        except ValidationError as error:
            raise self._unlike("a suite with resamples and a seed", error) from error
        return said.resamples, said.seed

    def models(self, task: str) -> list[str]:
        """Return the models that a task's cells ask, in the cells' order."""
        names = (name.split("/") for name in self.info.cells)
        return list(dict.fromkeys(parts[1] for parts in names if parts[0] == task and len(parts) > 1))

    def card(self, model: str) -> Card:
        """Return a model's card as it was when the run asked it.

        Raises:
            StoreError: the run keeps no cards.
        """
        if model not in self.info.cards:
            do = f"Run it again, which asks nothing twice: harness run {self.info.suite}"
            raise StoreError(problem(f"run {self.info.id}", f"the card of {model}", "none", do))
        try:
            return Card.model_validate(self.info.cards[model])
        except ValidationError as error:
            raise self._unlike(f"a card of {model}", error) from error

    def _unlike(self, expected: str, error: ValidationError) -> StoreError:
        first = error.errors(include_url=False)[0]
        got = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return StoreError(problem(f"run.json of run {self.info.id}", expected, got, "Run the suite again"))

    def check_finished(self) -> None:
        """Refuse a run that has not ended, with StoreError."""
        if self.info.status != "complete":
            do = f"Go on with it: harness resume {self.info.id}"
            raise StoreError(problem(f"run {self.info.id}", "a finished run", self.info.status, do))

    def check_valid(self) -> None:
        """Refuse a run that has not ended, with StoreError, and with RunInvalid one that is INVALID."""
        self.check_finished()
        if self.info.verdict != "VALID":
            do = "Correct that and run the suite again"
            raise RunInvalid(problem(f"run {self.info.id}", "a VALID run", str(self.info.verdict), do))


def open_side(named: str, out: Path) -> Side:
    """Open a run or a baseline.

    Args:
        named: a run's id, or the path of a run's folder or of a baseline.
        out: folder of runs, for an id.

    Raises:
        StoreError: there is none, or it can't be read.
    """
    folder = Path(named).expanduser()
    if not (folder / RUN).is_file():
        return Side(RunStore(out).load(named), out)
    if not is_baseline(folder):
        runs = folder.resolve().parent
        if runs.name != RUNS:
            raise StoreError(problem(str(folder), "a run below its records, or a baseline", "run.json alone", COPY))
        return Side(RunStore(runs.parent).load(folder.resolve().name), runs.parent)
    try:
        return Side(RunInfo.model_validate_json((folder / RUN).read_bytes()), folder)
    except (OSError, ValidationError) as error:
        do = "Write it again: harness baseline RUN --to DIR"
        raise StoreError(problem(str(folder / RUN), "a readable run.json", type(error).__name__, do)) from error


def is_baseline(folder: Path) -> bool:
    """Whether a folder holds a run with its own records."""
    return (folder / RUN).is_file() and any((folder / name).is_dir() for name in STORES)


def write_baseline(side: Side, folder: Path) -> int:
    """Write a finished run and the records that its cells name into a folder, in the place of an earlier baseline.

    What the earlier one alone had is removed last: a disk that refuses leaves its records whole.

    Args:
        side: the run.
        folder: an empty or absent folder, or a baseline.

    Returns:
        The bytes of its records.

    Raises:
        StoreError: the folder holds something else, the run has not ended or its records are gone, or the disk refuses.
        RunInvalid: the run is INVALID.
    """
    side.check_valid()
    if folder.exists() and not is_baseline(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(problem(str(folder), "an empty folder or a baseline", "something else", "Name another folder"))
    if folder.resolve() == side.root.resolve():
        raise StoreError(problem(str(folder), "another folder than the run's", "the same", "Name another folder"))
    keys = sorted(set(side.info.cells.values()))
    kept = side.records
    stores = [(mine, CellStore(folder / name)) for mine, name in zip((kept.cells, kept.loads), STORES, strict=True)]
    size = sum(mine.size(key) for mine, _ in stores for key in keys)
    if not size:
        raise StoreError(
            problem(f"run {side.info.id}", f"records below {side.info.records or side.root}", "none", COPY)
        )
    for mine, written in stores:
        for key in keys:
            mine.copy(key, written)
    info = side.info.model_copy(update={"records": None})
    write_atomic(folder / RUN, (info.model_dump_json(indent=1) + "\n").encode())
    for mine, written in stores:
        _remove_others(written, mine, frozenset(keys))
    return size


def _remove_others(written: CellStore, kept: CellStore, keys: frozenset[str]) -> None:
    """Remove the parts that are of other cells, or that the run's own cells do not have."""
    for path in list(written.parts()):
        cell = path.parent
        if cell.name not in keys or path.name not in kept.part_names(cell.name):
            path.unlink()
            for empty in (cell, cell.parent):
                if not any(empty.iterdir()):
                    empty.rmdir()
