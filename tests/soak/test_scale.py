"""GenImage whole, 39 million answers of scripted models: planned, handed out by the real driver, merged and concluded.

The driver is real: plan, look-up, shards, the crew's loop, the store, the figures. What is simulated is the cluster:
workers that take the time that a rate says, on a clock of their own, and records that are drawn instead of asked for.
Each part runs in a process of its own, whose largest memory is the figure.
"""

import hashlib
import heapq
import io
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.backends.base import EndpointOptions
from harness.backends.scripted import Script, ScriptedBackend
from harness.card import Card
from harness.cluster import engine
from harness.data.layouts import Found
from harness.data.manifest import Manifest, ManifestDataset, write_manifest
from harness.events import Silent
from harness.models import Model
from harness.plan import Plan, make_plan
from harness.spec.suite import Suite
from harness.store.cells import CellStore
from harness.store.records import SCHEMA
from harness.tasks.detection import evaluate

GENERATORS = ("adm", "biggan", "glide", "midjourney", "sd14", "sd15", "vqdm", "wukong")
IMAGES = 6250
"""Of each class of each generator: 100,000 in all."""

MODELS = 56
CONDITIONS = ["none", "downsample size=112", "downsample size=64", "jpeg quality=95", "jpeg quality=65"]
CONDITIONS += ["blur sigma=3", "blur sigma=5"]
BATCH = 64
RESAMPLES = 100
"""Figures of a model take 20 ms of a core for each resample more."""

GIB = 2**30
SUITE = Suite.model_validate(
    {
        "name": "whole",
        "resamples": RESAMPLES,
        "data": {"genimage": {"layout": "genimage", "root": "nowhere"}},
        "models": ["whole.*"],
        "tasks": [{"kind": "detection", "data": "genimage", "degradations": CONDITIONS}],
    }
)


def found() -> Iterator[Found]:
    for generator in GENERATORS:
        for label, subset in enumerate((f"nature:{generator}", generator)):
            for number in range(IMAGES):
                path = f"{generator}/val/{('nature', 'ai')[label]}/{number:06}.png"
                yield Found(path, label, subset, "test", path)


def model(number: int) -> Model:
    head = {"name": "fake", "trained_on": [GENERATORS[number % len(GENERATORS)]]}
    name = f"whole.m{number:02}"
    card = Card.model_validate(
        {
            "name": name,
            "task": "detection",
            "input": "image",
            "output": "score",
            "preprocess": {"crop": 224},
            "heads": [head],
        }
    )
    backend = ScriptedBackend("scripted:whole", Script(card=card, rule="hash"), EndpointOptions(batch=BATCH))
    return Model(name, card, backend.info(), backend, "scripted")


def planned(root: Path) -> tuple[ManifestDataset, dict[str, Model], Plan]:
    data = ManifestDataset("genimage", Manifest(root / "manifest.parquet"))
    models = {made.name: made for made in map(model, range(MODELS))}
    return data, models, make_plan(SUITE, models, {"genimage": data})


def alone(part: Callable[..., dict[str, float]], *given: object) -> dict[str, float]:
    """Run a part in a fresh process; return its figures, and ``gib``, the most memory that it ever took."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_told, args=(theirs, part, *given))
    process.start()
    theirs.close()
    said: dict[str, float] = ours.recv()
    process.join()
    sys.stderr.write(f"\n{part.__name__} {given[1:]} {json.dumps(said)}")
    return said


def _told(pipe: Any, part: Callable[..., dict[str, float]], *given: object) -> None:
    figures = part(*given)
    pipe.send({**figures, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB})


def plan_whole(root: Path) -> dict[str, float]:
    data, models, _ = planned(root)
    started = time.perf_counter()
    plan = make_plan(SUITE, models, {"genimage": data})
    return {"seconds": time.perf_counter() - started, "cells": len(plan.cells), "answers": plan.answers}


class Cluster:
    """In Ray's place: workers of ``rate`` answers a second, give or take a fifth, on a clock of their own."""

    class exceptions:  # noqa: N801
        RayActorError = ConnectionError

    def __init__(self, rate: float) -> None:
        self.rate, self.now, self.sent = rate, 0.0, 0
        self.running: list[tuple[float, int]] = []
        self.random = np.random.default_rng(0)
        self.answer = self

    def remote(self, shard: str) -> int:
        self.sent += 1
        seconds = json.loads(shard)["answers"] / self.rate * self.random.uniform(0.8, 1.2)
        heapq.heappush(self.running, (self.now + seconds, self.sent))
        return self.sent

    def wait(self, references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        self.now, first = heapq.heappop(self.running)
        return [first], []

    def get(self, reference: int) -> None:
        return None

    def kill(self, worker: object) -> None:
        return None


def hand_out(root: Path, workers: int, rate: float) -> dict[str, float]:
    """Hand out every shard to so many workers of so many answers a second."""
    _, _, plan = planned(root)
    started, cpu = time.perf_counter(), time.process_time()
    backlog = engine._Backlog(plan.cells, CellStore(root / "empty"))
    backlog.size(workers)
    cluster = Cluster(rate)
    engine._Crew(cluster, lambda: cluster, workers, Silent()).work(backlog)
    assert backlog.done == backlog.total == plan.answers
    return {
        "driver_cpu_s": time.process_time() - cpu,
        "driver_s": time.perf_counter() - started,
        "shards": cluster.sent,
        "cluster_s": cluster.now,
        "ideal_s": plan.answers / rate / workers,
    }


def write_share(root: Path, share: int, shares: int) -> dict[str, float]:
    """Write drawn records of every cell of some models, in parts as large as workers make them."""
    data, _, plan = planned(root)
    store, started, written = CellStore(root / "cells"), time.perf_counter(), 0
    step = engine.MOST_ANSWERS // len(CONDITIONS) // BATCH * BATCH
    known: dict[str, pa.Table] = {}
    for cell in plan.cells:
        if int(cell.model[-2:]) % shares != share:
            continue
        if cell.subset not in known:
            samples = list(data.samples(cell.subset, cell.split))
            columns = {name: [getattr(item, name) for item in samples] for name in ("source", "label", "target")}
            paths = [item.path for item in samples]
            known[cell.subset] = pa.table({"position": range(len(samples)), "sample": paths, **columns})
        rows = known[cell.subset]
        drawn = np.random.default_rng(int(cell.key[:8], 16)).normal(loc=cell.label, size=(len(rows), 1))
        nothing = pa.nulls(len(rows), pa.string())
        rows = rows.append_column("scores", pa.array(list(drawn.astype(np.float32))))
        rows = rows.append_column("error", nothing).append_column("detail", nothing).select(SCHEMA.names).cast(SCHEMA)
        for start in range(0, len(rows), step):
            buffer = io.BytesIO()
            pq.write_table(rows.slice(start, step), buffer, compression="zstd")
            content = buffer.getvalue()
            stop = min(start + step, len(rows)) - 1
            name = f"{start:09d}-{stop:09d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
            store.shelf.write(f"{cell.key[:2]}/{cell.key}/{name}", content)
        written += len(rows)
    return {"records": written, "seconds": time.perf_counter() - started}


def merge(root: Path) -> dict[str, float]:
    """Look up what is answered, as a run does that goes on: everything."""
    _, _, plan = planned(root)
    started = time.perf_counter()
    backlog = engine._Backlog(plan.cells, CellStore(root / "cells"))
    assert not backlog.waits
    assert backlog.done == plan.answers
    return {"seconds": time.perf_counter() - started, "answers": backlog.done}


def conclude(root: Path) -> dict[str, float]:
    """Compute every figure."""
    data, models, plan = planned(root)
    cards = {name: item.card for name, item in models.items()}
    started = time.perf_counter()
    figures = evaluate(
        SUITE.tasks[0],  # type: ignore[arg-type]
        plan.cells,
        cards,
        data.subsets(),
        CellStore(root / "cells"),
        RESAMPLES,
        SUITE.seed,
    )
    assert figures.records == plan.answers
    assert not figures.failures
    auroc = [item.estimates["auroc"].value for detector in figures.detectors for item in detector.figures.values()]
    assert len(auroc) == MODELS * len(CONDITIONS) * len(GENERATORS)
    np.testing.assert_allclose(auroc, 0.760, atol=0.02)  # Phi(1 / sqrt 2)
    return {"seconds": time.perf_counter() - started}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "png")
    write_manifest(folder / "manifest.parquet", found(), lambda path: picture.getvalue(), lambda done: None)
    return folder


def test_genimage_whole_is_planned_in_seconds(root: Path) -> None:
    said = alone(plan_whole, root)
    assert said["answers"] == 39_200_000
    assert said["seconds"] < 20
    assert said["gib"] < 2


@pytest.mark.parametrize("workers", [8, 64, 512])
@pytest.mark.parametrize("rate", [100, 1000], ids=["core", "gpu"])
def test_the_driver_keeps_a_cluster_busy(root: Path, workers: int, rate: int) -> None:
    said = alone(hand_out, root, workers, rate)
    assert said["gib"] < 2
    assert said["driver_cpu_s"] < 0.5 * said["ideal_s"]
    assert said["cluster_s"] < 1.1 * said["ideal_s"] + 2 * engine.MOST_ANSWERS / rate


def test_forty_million_records_are_merged_and_concluded_in_two_gib(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        written = pool.starmap(write_share, [(root, share, 2) for share in range(2)])
    assert sum(item["records"] for item in written) == 39_200_000
    sys.stderr.write(f"\nwritten {json.dumps(written)}")
    assert alone(merge, root)["gib"] < 2
    assert alone(conclude, root)["gib"] < 2
