"""A fleet of two real tritonservers, of which one is killed while it answers."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from harness.backends import Backend, EndpointOptions, open_backend
from harness.backends.fleet import FleetBackend, away_of
from harness.backends.triton import TritonBackend
from harness.events import Silent
from harness.load.clients import BackendClient, single_try
from harness.load.loops import open_loop
from harness.load.requests import Batches
from harness.run import Asked, run
from harness.serving import TritonServer
from harness.store.cells import CellStore
from tests.contract.conftest import MODEL
from tests.noise import write_noise

PER_CLASS = 60

SUITE = """\
name: fleet
repository: {repository}
data: {{d: {{layout: real_fake, root: "{root}"}}}}
models:
  - name: {model}
    endpoint: [{endpoints}]
    options: {{batch: 1, concurrency: 2}}
tasks: [{{kind: detection, name: t, data: d, audit: false}}]
report: {{mistakes: 0}}
resamples: 100
"""


class Noting(Silent):
    """Keeps what is worth a line."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def other(repository: Path, server: TritonServer) -> Iterator[TritonServer]:
    """A second server of the same model."""
    with TritonServer(repository, [MODEL]) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "images", PER_CLASS)


def answered(backend: Backend) -> int:
    """Return how many requests a server says that it has answered; of a fleet, all of them."""
    inner = single_try(backend)
    assert isinstance(inner, TritonBackend | FleetBackend)
    counters = inner.statistics()
    assert counters is not None
    return counters["success"][0]


def test_loads_reach_every_member_in_the_background(server: TritonServer, other: TritonServer) -> None:
    endpoints = (server.grpc_url(MODEL), other.grpc_url(MODEL))
    opened = open_backend(endpoints, EndpointOptions(concurrency=3))
    assert opened.options.concurrency == 6
    drawn = list(np.random.default_rng(1).integers(0, 256, (4, 128, 128, 3), np.uint8))
    expected = [opened.infer({"image": image[None]})["score"] for image in drawn]
    each = [open_backend(endpoint, EndpointOptions()) for endpoint in endpoints]
    before = [answered(backend) for backend in (opened, *each)]
    with BackendClient(opened, "image", Batches(drawn, 1)) as client:
        requests = open_loop(client, client.batches, np.linspace(0, 0.2, 12), client.clock())
    for request in requests:
        assert isinstance(request.answer, dict)
        np.testing.assert_allclose(request.answer["score"], expected[request.images[0]], atol=1e-6)
    until = time.monotonic() + 5  # a server counts a request after it has answered it
    while answered(opened) < before[0] + 12 and time.monotonic() < until:
        time.sleep(0.05)
    after = [answered(backend) for backend in (opened, *each)]
    more = [now - was for now, was in zip(after, before, strict=True)]
    assert more[0] == 12 == more[1] + more[2]
    assert min(more) > 0
    for backend in (opened, *each):
        backend.close()


def test_a_server_that_hangs_costs_time_limits_and_no_answer(server: TritonServer, other: TritonServer) -> None:
    opened = open_backend((server.grpc_url(MODEL), other.grpc_url(MODEL)), EndpointOptions(timeout_s=1))
    opened.info()
    inputs = {"image": np.random.default_rng(2).integers(0, 256, (4, 128, 128, 3), np.uint8)}
    expected = opened.infer(inputs)["score"]
    opened.infer(inputs)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(4):
            np.testing.assert_allclose(opened.infer(inputs)["score"], expected, atol=1e-6)
        assert away_of(opened) == (other.grpc_url(MODEL),)
        opened.close()
        assert time.monotonic() - began < 10
    finally:
        os.kill(other.pid, signal.SIGCONT)


def test_one_of_two_servers_is_killed_and_every_image_is_answered_once(
    server: TritonServer, other: TritonServer, repository: Path, images: Path, tmp_path: Path
) -> None:
    endpoints = [server.grpc_url(MODEL), other.grpc_url(MODEL)]
    suite = tmp_path / "suite.yaml"
    said = SUITE.format(repository=repository, root=images, model=MODEL, endpoints=", ".join(endpoints))
    suite.write_text(said, encoding="utf-8")
    victim = open_backend(endpoints[1], EndpointOptions())
    before, killed = answered(victim), threading.Event()

    def kill() -> None:
        while answered(victim) < before + PER_CLASS // 4:
            time.sleep(0.01)
        assert other.pid is not None
        os.kill(other.pid, signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    events = Noting()
    finished = run(Asked(suite, out=tmp_path / "reports"), events)
    assert killed.is_set()
    assert not other.running
    victim.close()
    assert finished.info.verdict == "VALID"
    parts = [pq.read_table(path) for path in CellStore(tmp_path / "reports" / "cells").parts()]
    rows = [row for part in parts for row in part.to_pylist()]
    assert Counter(row["sample"] for row in rows) == dict.fromkeys(
        (path.relative_to(images).as_posix() for path in images.rglob("*.png")), 1
    )
    assert not any(row["error"] for row in rows)
    alone = open_backend(f"onnx:{repository / MODEL / '1' / 'model.onnx'}", EndpointOptions())
    for row in rows[:: len(rows) // 10]:
        pixels = np.asarray(PILImage.open(images / row["sample"]))
        np.testing.assert_allclose(alone.infer({"image": pixels[None]})["score"][0], row["scores"], atol=1e-6)
    told = json.loads((finished.folder / "run.json").read_text(encoding="utf-8"))
    assert told["spec"]["models"][0]["endpoint"] == endpoints
    assert events.notes == [f"{MODEL}: {endpoints[1]} does not answer; the model's other endpoints are asked"]
