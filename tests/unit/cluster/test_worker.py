"""What a worker of a cluster does with a shard: the same records as here, or in words what it lacks."""

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest
from PIL import Image as PILImage
from typer import BadParameter

from harness.cluster.job import JOB, SHARD, Job, make_job, stays
from harness.cluster.worker import Worker
from harness.commands.suites import run
from harness.data import Dataset, open_dataset
from harness.engines import answer
from harness.errors import DataError
from harness.events import Silent
from harness.models import Model, expand, open_models
from harness.plan import Cell, make_plan
from harness.shards import Shard, cut, groups
from harness.spec.suite import DataSpec, Suite
from harness.store.cells import CellStore

IMAGES = 7


@dataclass
class Bench:
    """A plan, and what a driver would send to a worker."""

    job: Job
    manifests: dict[str, bytes]
    shards: list[Shard]
    cells: tuple[Cell, ...]
    models: dict[str, Model]
    datasets: dict[str, Dataset]
    store: CellStore

    def sent(self, shard: Shard, **other: object) -> tuple[str, str] | None:
        job = replace(self.job, **other)  # type: ignore[arg-type]
        worker = Worker(JOB.dump_json(job).decode(), self.manifests, 2)
        return worker.answer(SHARD.dump_json(shard).decode())


def draw(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = [f"set/{kind}/{number}.png" for kind in ("0_real", "1_fake") for number in range(IMAGES)]
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / path)
    return paths


@contextmanager
def set_up(spec: DataSpec, folder: Path) -> Iterator[Bench]:
    card = {"name": "scripted.brightness", "score": "statistic"}
    asked = Suite.model_validate(
        {
            "name": "cluster",
            "data": {"d": spec.model_dump()},
            "models": [
                {
                    "name": "scripted.brightness",
                    "endpoint": f"scripted:{json.dumps({'card': card})}",
                    "options": {"batch": 3},
                }
            ],
            "tasks": [{"kind": "detection", "name": "t", "data": "d", "degradations": ["none", "jpeg quality=65"]}],
        }
    )
    datasets = {"d": open_dataset("d", spec, folder, folder / "manifests", Silent())}
    wanted = expand(asked.models, Path())
    with open_models(wanted) as models:
        cells = make_plan(asked, models, datasets).cells
        store = CellStore(folder / "cells")
        store.root.mkdir()
        (store.root / "mark").touch()
        job, manifests = make_job(cells, wanted, models, datasets, store.root, "mark", 0)
        shards = [one for group in groups(cells) for one in cut(group, [np.ones(IMAGES, bool)] * len(group), 6)]
        assert not any(stays(cell, models, datasets) for cell in cells)
        yield Bench(job, manifests, shards, cells, dict(models), datasets, store)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    draw(tmp_path / "images")
    with set_up(DataSpec(layout="real_fake", root="images"), tmp_path) as made:
        yield made


def test_shards_leave_the_records_that_one_process_does(bench: Bench, tmp_path: Path) -> None:
    assert len(bench.shards) == 6
    worker = Worker(JOB.dump_json(bench.job).decode(), bench.manifests, 2)
    for shard in reversed(bench.shards):
        assert worker.answer(SHARD.dump_json(shard).decode()) is None
    here = CellStore(tmp_path / "here")
    answer(bench.cells, bench.models, bench.datasets, here, 0, Silent())
    for cell in bench.cells:
        found = bench.store.read(cell.key)
        assert found.equals(here.read(cell.key))
        assert found["position"].to_pylist() == list(range(IMAGES))


def test_a_shard_that_is_sent_again_changes_nothing(bench: Bench) -> None:
    assert bench.sent(bench.shards[0]) is None
    state = bench.store.state(cell.key for cell in bench.cells)
    assert bench.sent(bench.shards[0]) is None
    assert bench.store.state(cell.key for cell in bench.cells) == state


def test_what_a_worker_lacks_is_said_with_its_host(bench: Bench, tmp_path: Path) -> None:
    shard = bench.shards[0]
    for other, kind, message in (
        ({"code": "other"}, "HarnessError", "the harness that planned the run"),
        ({"mark": "elsewhere"}, "StoreError", "--records s3://"),
    ):
        said = bench.sent(shard, **other)
        assert said is not None
        assert said[0] == kind
        assert message in said[1]
    place = replace(bench.job.models["scripted.brightness"], weights_sha256="f" * 64)
    said = bench.sent(shard, models={"scripted.brightness": place})
    assert said is not None
    assert said[0] == "CardError"
    assert "weights ffff" in said[1]
    (tmp_path / "images" / "set" / "0_real" / "3.png").write_bytes(b"of another copy")
    said = next(filter(None, map(bench.sent, bench.shards)))
    assert said[0] == "DataError"
    assert "set/0_real/3.png: expected the bytes that the manifest was made of, got 15 others" in said[1]
    shutil.rmtree(tmp_path / "images")
    said = bench.sent(shard)
    assert said is not None
    assert said[0] == "DataError"
    assert str(tmp_path / "images") in said[1]
    assert "or name the data by a URL" in said[1]


def test_data_at_a_url_is_read_from_there(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    paths = draw(tmp_path / "drawn")
    with (tmp_path / "drawn" / "images.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "subset"])
        table.writerows([path, int("1_fake" in path), "gan" if "1_fake" in path else "nature"] for path in paths)
    memory = fsspec.filesystem("memory")
    for name in ("images.csv", *paths):
        memory.pipe_file(f"{url}/{name}", (tmp_path / "drawn" / name).read_bytes())
    shutil.rmtree(tmp_path / "drawn")
    with set_up(DataSpec(layout="manifest", root=f"{url}/images.csv"), tmp_path) as bench:
        memory.rm_file(f"{url}/{paths[0]}")
        for shard in bench.shards:
            assert bench.sent(shard) is None
        errors = [error for cell in bench.cells for error in bench.store.read(cell.key)["error"].to_pylist()]
    assert errors.count("image:missing") == 2
    assert errors.count(None) == 2 * 2 * IMAGES - 2


@pytest.mark.parametrize("engine", ["slurm", "ray://", "ray://h:1/../x", "ray://user:canary@h:1", "local\n"])
def test_an_engine_that_nobody_knows_is_refused(engine: str) -> None:
    with pytest.raises(BadParameter, match="ray://HOST:PORT"):
        run(Path("x.yaml"), engine=engine)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"layout": "genimage", "root": "memory://nowhere/x"}, "layout: manifest"),
        ({"layout": "manifest", "root": "memory://nowhere/x.csv"}, "Check the URL"),
    ],
)
def test_a_url_that_is_no_manifest_says_what_to_write(spec: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset("d", DataSpec.model_validate(spec), tmp_path, tmp_path / "manifests", Silent())
