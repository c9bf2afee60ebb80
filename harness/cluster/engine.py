"""Sends shards to the workers of a Ray cluster, a bounded number at a time, and again where a worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from harness import errors
from harness.cluster.connection import connected, width_of
from harness.cluster.job import JOB, SHARD, make_job, stays
from harness.cluster.worker import Worker
from harness.data.sample import Dataset
from harness.engines import answer, open_chunks
from harness.errors import HarnessError, RunInvalid, problem
from harness.events import Events
from harness.held import held
from harness.models import Model, Wanted
from harness.plan import Cell
from harness.shards import Open, Shard, cut, groups
from harness.store.cells import CellStore

MOST_ANSWERS = 8192
"""Of a shard: seconds of a GPU, a minute or two of a core. Of each cell its records are a part, best a large one."""

FEWEST_ANSWERS = 64
"""Of a shard, where a run is small and workers are many."""

EACH = 4
"""Shards that a worker gets of a small run, so that none waits long for the last one."""

DEATHS = 5
"""Workers that may die of one shard before it is given up."""

READERS = 16
"""Cells whose records are looked up at once; a store elsewhere takes its time for each."""

WAIT_S = 0.5


def answer_on_ray(
    cells: Sequence[Cell],
    wanted: Sequence[Wanted],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    store: CellStore,
    seed: int,
    events: Events,
    address: str | None = None,
) -> None:
    """Answer every open position of the cells on a cluster; records are in the store when this returns.

    Workers write their records themselves; a shard that is sent twice writes the same ones. Cells that can't go
    elsewhere are answered here first.

    Args:
        cells: what is asked.
        wanted: how the suite's models are opened, elsewhere too.
        models, datasets: opened here, by name.
        store: where records go; a folder of it must be the workers' too.
        seed: the suite's.
        events: receives progress.
        address: ``ray://host:port``; a cluster of this machine's cores where None.

    Raises:
        HarnessError: what a worker said, or a shard that no worker lives through; records so far are in the store.
    """
    here = [cell for cell in cells if stays(cell, models, datasets)]
    away = [cell for cell in cells if not stays(cell, models, datasets)]
    _check_reachable(away, models, address)
    if here:
        names = ", ".join(dict.fromkeys(cell.model for cell in here))
        events.note(f"answered by this process, not by Ray: {len(here)} cells of {names}")
        answer(here, models, datasets, store, seed, events)
    backlog = _Backlog(away, store)
    if not backlog.waits:
        return
    with _marked(store) as mark:
        job, manifests = make_job(away, wanted, models, datasets, store.root, mark, seed)
        gpu = any(models[name].local and "CUDA" in models[name].info.platform for name in job.models)
        with connected(address, events) as ray:
            workers, cores = width_of(ray, gpu)
            backlog.size(workers)
            said = (JOB.dump_json(job).decode(), ray.put(manifests), max(2, cores))
            kind = ray.remote(num_cpus=cores, num_gpus=int(gpu), max_restarts=0)(Worker)
            crew = _Crew(ray, lambda: kind.remote(*said), workers, events)
            events.begin("answering on Ray", backlog.total, "answers")
            try:
                crew.work(backlog)
            finally:
                crew.dismiss()
                events.end()


class _Backlog:
    """Shards that wait: cut when they are wanted, so that a plan of any size takes no more memory than a group of it.

    Attributes:
        total: answers of all cells.
        done: of these, in the store.
    """

    def __init__(self, cells: Sequence[Cell], store: CellStore) -> None:
        self.groups, self.store = list(groups(cells)), store
        self.total = sum(group[0].images * len(group) for group in self.groups)
        self.done = 0
        self.most = MOST_ANSWERS
        self.again: deque[tuple[Shard, int]] = deque()
        self._open = self._look_up()
        self._first = next(self._open, None)
        self._fresh = self._cut()

    @property
    def waits(self) -> bool:
        """Whether anything was open at first."""
        return self._first is not None

    def size(self, workers: int) -> None:
        """Make shards small enough for so many workers."""
        self.most = min(MOST_ANSWERS, max(FEWEST_ANSWERS, self.total // (EACH * workers)))

    def take(self) -> tuple[Shard, int] | None:
        """Return a shard and how many workers died of it; None where nothing waits."""
        if self.again:
            return self.again.popleft()
        shard = next(self._fresh, None)
        return None if shard is None else (shard, 0)

    def _cut(self) -> Iterator[Shard]:
        """Yield the shards of every group, in the size that is wanted by then."""
        for group, masks in chain([self._first] if self._first else [], self._open):
            yield from cut(group, masks, self.most)

    def _look_up(self) -> Iterator[tuple[tuple[Cell, ...], list[Open]]]:
        """Yield groups of which anything is open, and what."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="look-up") as pool:
            for group in self.groups:
                masks = list(pool.map(self._open_of, group))
                answers = sum(int(mask.sum()) for mask in masks)
                self.done += group[0].images * len(group) - answers
                if answers:
                    yield group, masks

    def _open_of(self, cell: Cell) -> Open:
        return open_chunks(self.store.answered(cell.key), cell.images, cell.batch)


class _Crew:
    """The workers of a run: each has one shard at a time, and another takes the place of one that dies."""

    def __init__(self, ray: Any, hire: Callable[[], Any], width: int, events: Events) -> None:
        self.ray, self.hire, self.width, self.events = ray, hire, width, events
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, Shard, int]] = {}

    def work(self, backlog: _Backlog) -> None:
        """Have every shard answered. Raises HarnessError as :func:`answer_on_ray` does."""
        while True:
            while len(self.busy) < self.width and (task := backlog.take()) is not None:
                worker = self.idle.pop() if self.idle else self.hire()
                self.busy[worker.answer.remote(SHARD.dump_json(task[0]).decode())] = (worker, *task)
            if not self.busy:
                return
            finished, _ = self.ray.wait(list(self.busy), timeout=WAIT_S)
            for reference in finished:
                self._settle(reference, backlog)
            self.events.advance(backlog.done, backlog.total, f"{len(self.busy)} workers")

    def dismiss(self) -> None:
        """End all workers, at once."""
        for worker in [*self.idle, *(worker for worker, _, _ in self.busy.values())]:
            self.ray.kill(worker)

    def _settle(self, reference: Any, backlog: _Backlog) -> None:
        """Take in what became of a shard."""
        worker, shard, deaths = self.busy.pop(reference)
        try:
            failure = self.ray.get(reference)
        except self.ray.exceptions.RayActorError as error:
            said = str(error).partition("\n")[0].rstrip(".")
            if deaths + 1 >= DEATHS:
                do = "Look at the memory of its machine; what was answered is kept: run the same command again"
                got = f"none: {DEATHS} died, lately: {said}"
                raise RunInvalid(problem(f"shard {shard.name}", "a worker that lives through it", got, do)) from error
            self.events.note(f"a worker died, its shard is asked again: {shard.name}")
            self.ray.kill(worker)
            backlog.again.append((shard, deaths + 1))
            return
        if failure is not None:
            raise _error(*failure)
        self.idle.append(worker)
        backlog.done += shard.answers


@contextmanager
def _marked(store: CellStore) -> Iterator[str]:
    """Have a file in a store's folder that tells it from other folders of the same path; yield its name, if any."""
    if not isinstance(store.root, Path):
        yield ""
        return
    store.root.mkdir(parents=True, exist_ok=True)
    with held(store.root / "cluster") as mark:
        yield mark.name


def _check_reachable(cells: Sequence[Cell], models: Mapping[str, Model], address: str | None) -> None:
    """Refuse what workers on other machines can't reach: a server that this run started on loopback."""
    served = [cell.model for cell in cells if models[cell.model].server is not None]
    if address is not None and served:
        do = "Serve the models where every worker reaches them, and name the endpoints in the suite"
        raise HarnessError(problem(f"--serve triton with {address}", "endpoints of the cluster", "one here", do))


def _error(name: str, message: str) -> HarnessError:
    """Return the error that a worker named."""
    kind = getattr(errors, name, HarnessError)
    found: HarnessError = kind(message)
    return found
