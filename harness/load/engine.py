"""Puts models under load: real images, checked answers, every request a record. Leaves figures to the task."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data.sample import Dataset
from harness.events import Events
from harness.extras import load_extra
from harness.load.bench import Bench, pace_of, set_up
from harness.load.cells import LOADGEN, LoadCell
from harness.load.clients import BackendClient
from harness.load.loadgen import Pace, drive
from harness.load.loops import DRAIN_S, closed_loop, open_loop
from harness.load.memory import read_memory
from harness.load.peak import Step, next_rate
from harness.load.requests import Batches, Clock, Request
from harness.load.scenarios import Arrivals, Concurrency, Load, MultiStream, Offline, Peak, Rate, Server
from harness.load.schedule import schedule
from harness.load.watch import Watch
from harness.models import Model
from harness.store.cells import CellStore
from harness.store.loads import LoadRecord

SLOW = 3.0
"""An open loop's last requests have at least so many times as long for an answer as one at rest takes."""


def put_under_load(
    cells: Sequence[LoadCell],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    store: CellStore,
    seed: int,
    events: Events,
    clock: Clock = time.perf_counter,
) -> None:
    """Measure what the cells lack, one load after the other; a repeat is on disk whole or not at all.

    Args:
        cells: what is asked.
        models, datasets: by name.
        store: where records go.
        seed: the suite's.
        events: receives progress.
        clock: seconds.

    Raises:
        DataError: no images that can be sent.
        EndpointError: a model that does not answer at rest.
        StoreError: the disk refuses.
    """
    if not cells:
        return
    events.begin("putting under load", len(cells), "loads")
    try:
        for _, group in groupby(enumerate(cells), key=lambda item: (item[1].task.name, item[1].model)):
            bench: Bench | None = None
            for place, cell in group:
                events.advance(place, len(cells), cell.name)
                records = store.read(cell.key, ("repeat", "rate", "seconds")).to_pandas()
                if not is_open(cell, records):
                    continue
                model, data = models[cell.model], datasets[cell.task.data]
                bench = bench or set_up(model, data, cell.task.split, cell.images, seed, clock)
                for made in _Measuring(cell, bench, clock).missing(records):
                    store.append(cell.key, made)
        events.advance(len(cells), len(cells))
    finally:
        events.end()


def is_open(cell: LoadCell, records: pd.DataFrame) -> bool:
    """Return whether a cell lacks anything: a repeat, or the end of a search, whose first rate does not matter here."""
    if isinstance(cell.load, Peak):
        return next_rate(steps_of(cell.load, records), 1.0, cell.load.precision) is not None
    return set(records["repeat"]) != set(range(cell.task.repeats))


def steps_of(load: Peak, records: pd.DataFrame) -> list[Step]:
    """Return the steps of a search in the order in which they were taken.

    Args:
        load: the search.
        records: its cell's, with ``rate``, ``error`` and ``seconds``, by position.
    """
    right = records["error"].isna() & (records["seconds"] * 1e3 <= load.slo_ms)
    shares = right.groupby(records["rate"], sort=False).mean()
    return [
        Step(rate, share >= load.percentile / 100)
        for rate, share in zip(shares.index.tolist(), shares.tolist(), strict=True)
    ]


class _Measuring:
    """One cell being measured."""

    def __init__(self, cell: LoadCell, bench: Bench, clock: Clock) -> None:
        self.cell, self.task, self.bench, self.clock = cell, cell.task, bench, clock
        self.batches = Batches(bench.inputs, self.task.batch)
        self.drain_s = max(DRAIN_S, SLOW * bench.seconds)

    def missing(self, records: pd.DataFrame) -> Iterator[list[LoadRecord]]:
        """Yield the records of each repeat, or step of a search, that is not among ``records``."""
        position = int(records["position"].max()) + 1 if len(records) else 0
        if not isinstance(self.cell.load, Peak):
            for repeat in range(self.task.repeats):
                if repeat not in set(records["repeat"]):
                    made = self._repeat(self.cell.load, repeat, position)
                    position += len(made)
                    yield made
            return
        load, steps = self.cell.load, steps_of(self.cell.load, records)
        while (rate := next_rate(steps, 1 / self.bench.seconds, load.precision)) is not None:
            made = self._step(load, rate, position)
            frame = pd.DataFrame(
                [(row.rate, row.error, row.seconds) for row in made], columns=["rate", "error", "seconds"]
            )
            steps += steps_of(load, frame)
            position += len(made)
            yield made

    def _repeat(self, load: Load, repeat: int, position: int) -> list[LoadRecord]:
        seed = self._seed(repeat)
        if load.driven:
            return self._driven(load, repeat, position, seed)
        warmup_s = self.task.warmup_s
        start = self.clock() + warmup_s
        with self._client(self.batches) as client, Watch(self.bench.model, warmup_s) as watch:
            if isinstance(load, Concurrency):
                length = warmup_s + self.task.seconds
                requests = closed_loop(client, self.batches, load.requests, length, self.clock)
                return self._records(_since(requests, start), start, watch, position, repeat)
            assert isinstance(load, Rate)
            due = self._due(load.per_s, self.task.seconds, load.arrivals, seed)
            requests = open_loop(client, self.batches, due, start, self.clock, drain_s=self.drain_s)
            return self._records(_since(requests, start), start, watch, position, repeat, load.per_s)

    def _step(self, load: Peak, rate: float, position: int) -> list[LoadRecord]:
        """Send one rate: long enough for requests that could tell the percentile, and no longer than is of use."""
        beyond = 1 - load.percentile / 100
        due = self._due(rate, max(self.task.seconds, 1 / beyond / rate), load.arrivals, self._seed(position))
        due = due if due.size and due[-1] >= 0 else np.append(due, 0.0)
        start = self.clock() + self.task.warmup_s
        most = beyond * np.count_nonzero(due >= 0)

        def hopeless(requests: Sequence[Request], now: float) -> bool:
            until = [
                (now if item.answer is None else item.answered) - item.scheduled for item in _since(requests, start)
            ]
            return bool(sum(seconds * 1e3 > load.slo_ms for seconds in until) > most)

        with self._client(self.batches) as client, Watch(self.bench.model, self.task.warmup_s) as watch:
            requests = open_loop(client, self.batches, due, start, self.clock, hopeless=hopeless, drain_s=self.drain_s)
            return self._records(_since(requests, start), start, watch, position, 0, rate)

    def _due(self, rate: float, seconds: float, arrivals: Arrivals, seed: int) -> NDArray[np.float64]:
        """Return when requests are due, from the end of the warm-up on; those of the warm-up before 0."""
        return schedule(rate, self.task.warmup_s + seconds, arrivals, seed) - self.task.warmup_s

    def _driven(self, load: Load, repeat: int, position: int, seed: int) -> list[LoadRecord]:
        """Let LoadGen send, after a closed loop of the same requests as a warm-up."""
        options = self.bench.model.backend.options
        width = options.concurrency if isinstance(load, Offline) else 1
        size = options.batch if isinstance(load, Offline) else 1
        batches = Batches(self.bench.inputs, load.samples_per_query if isinstance(load, MultiStream) else size)
        with self._client(batches) as client:
            known = pace_of(closed_loop(client, batches, width, max(self.task.warmup_s, 0.2), self.clock))
            pace = Pace(self.bench.seconds, 1 / self.bench.seconds if math.isnan(known) else known)
            module = load_extra(*LOADGEN)
            with Watch(self.bench.model) as watch:
                driven = drive(module, load, client, batches, self.task.seconds, width, pace, seed, self.clock)
                start = min((request.scheduled for request in driven.requests), default=0.0)
                rate = load.target_qps if isinstance(load, Server) else None
                return self._records(driven.requests, start, watch, position, repeat, rate, driven.verdict)

    def _client(self, batches: Batches) -> BackendClient:
        return BackendClient(self.bench.model.backend, self.bench.model.card.input, batches, self.clock)

    def _seed(self, turn: int) -> int:
        said = f"{self.cell.seed}|{self.cell.load.id}|{turn}".encode()
        return int.from_bytes(hashlib.sha256(said).digest()[:4], "little")

    def _records(
        self,
        requests: Sequence[Request],
        start: float,
        watch: Watch,
        position: int,
        repeat: int,
        rate: float | None = None,
        verdict: str | None = None,
    ) -> list[LoadRecord]:
        queue, compute = watch.server()
        memory = read_memory(self.bench.model)
        records = []
        for place, request in enumerate(requests, position):
            error, detail = self.bench.fault(request, self.task.tolerance)
            records.append(
                LoadRecord(
                    position=place,
                    sample=self.bench.samples[request.images[0]].path,
                    error=error,
                    detail=detail,
                    scheduled=request.scheduled - start,
                    sent=_known(request.sent - start),
                    seconds=_known(request.answered - request.scheduled),
                    service=_known(request.answered - request.sent),
                    batch=len(request.images),
                    repeat=repeat,
                    rate=rate,
                    queue=queue,
                    compute=compute,
                    memory=memory.process,
                    machine_memory=memory.machine,
                    gpu_memory=memory.gpu,
                    verdict=verdict,
                )
            )
        return records


def _since(requests: Sequence[Request], start: float) -> list[Request]:
    """Return the requests that were wanted after the warm-up."""
    return [request for request in requests if request.scheduled >= start]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
