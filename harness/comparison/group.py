"""What two runs asked alike: one task of one model, cell by cell; reads records only to label them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.baselines import COPY, Side
from harness.card import Card
from harness.errors import StoreError, problem
from harness.plan import Cell
from harness.spec.suite import SampleSpec
from harness.store.cells import CellStore
from harness.tasks.answers import Ids, hashed


@dataclass(frozen=True)
class Asked:
    """What one run asked one model for one task.

    Attributes:
        side: the run.
        task, model: names in its suite.
    """

    side: Side
    task: str
    model: str

    @cached_property
    def cells(self) -> list[Cell]:
        """Its cells of a task that reads answers, each with as many images as there are records."""
        return [self._cell(name, key) for name, key in self.named_keys.items()]

    def _cell(self, name: str, key: str) -> Cell:
        subset, split, degradation, batch = name.rsplit("/", 3)
        labels = self._records[key]["label"]
        return Cell(
            key=key,
            task=self.task,
            model=self.model,
            data=self.spec["data"],
            subset=subset,
            label=labels[0].as_py(),
            split=split,
            degradation=degradation,
            images=len(labels),
            sample=SampleSpec(),
            batch=int(batch.removeprefix("batch ")),
        )

    @cached_property
    def _records(self) -> dict[str, pa.Table]:
        found = {key: self.store.read(key, ("sample", "label", "error")) for key in self.named_keys.values()}
        for name, key in self.named_keys.items():
            self.check_records(name, found[key])
        return found

    def check_records(self, name: str, records: pa.Table) -> None:
        """Refuse a cell of which no record can be read, with StoreError."""
        if not records.num_rows:
            raise StoreError(
                problem(f"run {self.side.info.id}", f"records of {self.task}/{self.model}/{name}", "none", COPY)
            )

    @cached_property
    def card(self) -> Card:
        """The model's card."""
        return self.side.card(self.model)

    @property
    def spec(self) -> dict[str, Any]:
        """The task as its suite has it."""
        return self.side.tasks[self.task]

    @property
    def store(self) -> CellStore:
        """Where its answers are."""
        return self.side.answers

    @cached_property
    def keys(self) -> dict[tuple[str, str, str], str]:
        """Keys of its cells by (split, condition, subset)."""
        return {(cell.split, cell.degradation, cell.subset): cell.key for cell in self.cells}

    @property
    def named_keys(self) -> dict[str, str]:
        """Keys of its cells by what their names say behind the model."""
        prefix = f"{self.task}/{self.model}/"
        cells = self.side.info.cells.items()
        return {name.removeprefix(prefix): key for name, key in cells if name.startswith(prefix)}

    @cached_property
    def _failed(self) -> dict[str, Ids]:
        tables = self._records.items()
        return {key: hashed(table.filter(pc.is_valid(table["error"]))["sample"]) for key, table in tables}

    def failed(self, cells: Iterable[Cell]) -> Ids:
        """Return what the paths of those images hash to that some of its cells have a failure of."""
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *(self._failed[cell.key] for cell in cells)]))

    def of(self, split: str, condition: str, subsets: Iterable[str]) -> list[Cell]:
        """Return the cells of some subsets under one condition."""
        wanted = set(subsets)
        here = (cell for cell in self.cells if (cell.split, cell.degradation) == (split, condition))
        return [cell for cell in here if cell.subset in wanted]


@dataclass(frozen=True)
class Group:
    """One task of one model in two runs."""

    before: Asked
    after: Asked

    @property
    def model(self) -> str:
        """The model's name, or both where it has another one now."""
        return named(self.before.model, self.after.model)

    @property
    def keys(self) -> tuple[dict[str, str], dict[str, str]]:
        """Keys of both runs' cells by what their names say behind the model."""
        return self.before.named_keys, self.after.named_keys

    def conditions(self, split: str) -> list[str]:
        """Return the conditions that both asked some subset about, in the order of the second run."""
        old = {condition for where, condition, _ in self.before.keys if where == split}
        both = dict.fromkeys(c for where, c, _ in self.after.keys if where == split and c in old)
        return [condition for condition in both if self.subsets(split, condition)]

    def subsets(self, split: str, condition: str) -> list[str]:
        """Return the subsets that both asked about under one condition."""
        both = (key for key in self.after.keys if key in self.before.keys)
        return [subset for where, asked, subset in both if (where, asked) == (split, condition)]

    @cached_property
    def common(self) -> frozenset[str]:
        """Keys of cells that both have: the same weights, images and settings."""
        old, new = self.keys
        return frozenset(old.values()) & frozenset(new.values())

    @cached_property
    def alike(self) -> frozenset[str]:
        """Those of them whose answers are the same: of one store, or equal record by record.

        A key says what was asked; what a baseline holds may have been answered by other code or another machine.
        """
        return frozenset(key for key in self.common if self._one_store or self._equal(key))

    def identical(self, split: str, condition: str, subsets: Iterable[str]) -> bool:
        """Whether both runs rest on the same answers there."""
        wanted = [(split, condition, subset) for subset in subsets]
        return all(self.before.keys[key] == self.after.keys[key] in self.alike for key in wanted)

    @property
    def _one_store(self) -> bool:
        return self.before.side.place == self.after.side.place

    def _equal(self, key: str) -> bool:
        old, new = (asked.store.read(key, ("sample", "scores", "error")) for asked in (self.before, self.after))
        return bool(old.equals(new))


def named(before: str, after: str) -> str:
    """Return a name, or both where they differ."""
    return after if before == after else f"{before} -> {after}"
