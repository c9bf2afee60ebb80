"""From a load task to its cells: which model is sent requests in which way, each under its hash. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.card import DERIVED, Card
from harness.data.sample import Dataset
from harness.environment import source_digest
from harness.errors import SuiteError, problem
from harness.extras import load_extra
from harness.keys import content_key
from harness.load.scenarios import Load
from harness.names import select
from harness.spec.loading import LoadTask

LOADGEN = ("mlperf_loadgen", "load")
"""Module of MLPerf LoadGen, and the extra that brings it."""


@dataclass(frozen=True, slots=True)
class LoadCell:
    """One (task, model, load).

    Attributes:
        key: SHA-256 of everything that is measured, and of the run: what was measured in another run never counts.
        task: its spec.
        model: its name.
        load: how requests are sent.
        images: how many images they are about.
        seed: of schedules and LoadGen's choice of images.
    """

    key: str
    task: LoadTask
    model: str
    load: Load
    images: int
    seed: int

    @property
    def name(self) -> str:
        """Readable address, unique in a plan."""
        return "/".join((self.task.name, self.model, self.load.brief))

    @property
    def seconds(self) -> float:
        """About how long it takes; a search of the peak has some ten steps."""
        steps = 10 if self.load.name == "peak" else 1
        return steps * self.task.repeats * (self.task.warmup_s + self.task.seconds)


def load_cells(
    task: LoadTask,
    data: Dataset,
    cards: Mapping[str, Card],
    identities: Mapping[str, Mapping[str, object]],
    limit: int | None,
    seed: int,
    nonce: str,
) -> Iterator[LoadCell]:
    """Yield a task's cells.

    Args:
        task: its spec.
        data: its images.
        cards: of the suite's models.
        identities: what their answers depend on, by name.
        limit: at most so many images.
        seed: the suite's.
        nonce: the run's.

    Raises:
        SuiteError: no images, or models that match none.
        HarnessError: the extra that brings LoadGen is not installed.
    """
    known = [name for name, card in cards.items() if card.task not in DERIVED and not card.represent]
    names = select(task.models, known, f"task {task.name}: models", "a match among models that take images")
    count = sum(info.count for info in data.subsets() if info.split == task.split)
    if not count:
        splits = f"Splits: {sorted({info.split for info in data.subsets()})}"
        raise SuiteError(problem(f"task {task.name}", f"images of split {task.split}", "none", splits))
    if any(load.driven for load in task.loads):
        load_extra(*LOADGEN)
    images = min(task.images, count, limit or count)
    for name in names:
        for load in task.loads:
            said = {
                "model": identities[name],
                "data": [data.digest, task.split, images],
                "load": load.id,
                "sent": task.model_dump(include={"batch", "seconds", "warmup_s", "repeats", "tolerance"}),
                "seed": seed,
                "run": nonce,
                "code": source_digest("load"),
            }
            key = content_key(said)
            yield LoadCell(key, task, name, load, images, seed)
