"""Answers shards wherever it is started, and writes their records to the store itself. Plans and judges nothing."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.cluster.job import JOB, SHARD, Job
from harness.data.sample import Dataset
from harness.engines import answer
from harness.environment import source_digest
from harness.errors import CardError, HarnessError, StoreError, problem
from harness.events import Silent
from harness.models import Model, open_models
from harness.store.cells import CellStore

FLUSH_S = 30.0
"""Records are in the store at most so many seconds after they came: fewer and larger parts than of a run here."""


class Worker:
    """One process of a cluster; the model of the last shard stays open for the next.

    Args:
        job: what all shards have in common, as JSON.
        manifests: of its data sets, by name.
        decoders: threads that decode.
    """

    def __init__(self, job: str, manifests: Mapping[str, bytes], decoders: int) -> None:
        self._said, self._manifests, self._decoders = job, manifests, decoders
        self._host = socket.gethostname()
        self._models: dict[str, Model] = {}
        self._opened = ExitStack()
        self._job = cache(self._read_job)
        self._store = cache(self._open_store)
        self._dataset = cache(self._open_dataset)

    def answer(self, shard: str) -> tuple[str, str] | None:
        """Answer what is open of a shard; every record is in the store when this returns.

        Args:
            shard: as JSON.

        Returns:
            None, or the name of the HarnessError that ended it and its message: errors cross machines as words.
        """
        asked = SHARD.validate_json(shard)
        try:
            job, cell = self._job(), asked.cells[0]
            datasets = {cell.data: self._dataset(cell.data)}
            models = {cell.model: self._model(cell.model)}
            store = self._store()
            answer(
                asked.cells,
                models,
                datasets,
                store,
                job.seed,
                Silent(),
                self._decoders,
                span=asked.span,
                flush_s=FLUSH_S,
            )
        except HarnessError as error:
            return type(error).__name__, str(error)
        return None

    def _read_job(self) -> Job:
        job = JOB.validate_json(self._said)
        if job.code != source_digest():
            do = "Install the same version on every machine of the cluster"
            raise HarnessError(problem(f"worker {self._host}", "the harness that planned the run", "another", do))
        return job

    def _open_store(self) -> CellStore:
        job = self._job()
        if job.mark and not (Path(job.records) / job.mark).is_file():
            do = "Share that folder with every worker, or name a URL: --records s3://BUCKET/PREFIX"
            what = f"records at {job.records} on worker {self._host}"
            raise StoreError(problem(what, "the folder of the machine that runs the suite", "another", do))
        return CellStore(job.records)

    def _open_dataset(self, name: str) -> Dataset:
        return self._job().data[name].open(name, self._manifests[name], self._host)

    def _model(self, name: str) -> Model:
        """Return a model, opened where the last shard was another's. Raises CardError where it is another one."""
        if name in self._models:
            return self._models[name]
        self._models = {}
        self._opened.close()
        place = self._job().models[name]
        options = place.wanted.spec.options
        options = options.model_copy(update={"threads": options.threads or 1})  # a worker has one core
        spec = place.wanted.spec.model_copy(update={"options": options})
        opened = self._opened.enter_context(open_models([replace(place.wanted, spec=spec)]))
        info = opened[name].info
        for what, planned, got in (
            ("weights", place.weights_sha256, info.weights_sha256),
            ("platform", place.platform, info.platform),
        ):
            if planned != got:
                do = "Give every machine of the cluster the same files and the same kind of processor"
                said = problem(
                    f"model {name} on worker {self._host}", f"{what} {planned or 'untold'}", got or "none", do
                )
                raise CardError(said)
        self._models = dict(opened)
        return opened[name]
