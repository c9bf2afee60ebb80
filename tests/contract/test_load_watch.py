"""What a real Triton and the system tell of a load: its time without the warm-up, and memory."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import psutil
import pytest

from harness.backends import EndpointOptions
from harness.backends.base import ModelInfo
from harness.backends.opening import open_backend
from harness.card import Card
from harness.load.memory import Memory, read_memory, read_metrics
from harness.load.watch import Watch
from harness.models import SERVED, Model
from harness.serving import TritonServer
from tests.contract.conftest import MODEL

IMAGE = np.zeros((1, 128, 128, 3), np.uint8)


@pytest.fixture(params=["grpc", "http"])
def model(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Model]:
    url = server.grpc_url(MODEL) if request.param == "grpc" else server.http_url(MODEL)
    backend = open_backend(url, EndpointOptions(metrics=server.metrics_url))
    yield Model(MODEL, Card(name=MODEL), ModelInfo(card=None), backend, url)
    backend.close()


def test_requests_of_the_warm_up_do_not_count(model: Model) -> None:
    with Watch(model, 0.7) as watch:
        model.backend.infer({"image": IMAGE})
        time.sleep(0.9)
        assert watch.server() == (None, None)  # none has come since
        model.backend.infer({"image": IMAGE})
        time.sleep(0.3)
        queue, compute = watch.server()
    assert queue is not None
    assert compute is not None
    assert 0 <= queue < 1
    assert 0 < compute < 1


def test_a_load_that_ends_in_its_warm_up_tells_nothing(model: Model) -> None:
    started = time.perf_counter()
    with Watch(model, 60) as watch:
        model.backend.infer({"image": IMAGE})
        assert watch.server() == (None, None)
    assert time.perf_counter() - started < 30


def test_a_servers_memory_is_known_as_far_as_it_tells(model: Model, server: TritonServer) -> None:
    told = read_memory(model)
    assert told.process is None
    assert told.machine is not None
    assert 0.2 < told.machine / psutil.virtual_memory().used < 5
    own = read_memory(replace(model, transport=SERVED, server=server))
    known = psutil.Process(server.pid)
    resident = sum(process.memory_info().rss for process in (known, *known.children(recursive=True)))
    assert own.process == pytest.approx(resident, rel=0.1)
    assert own.process > known.memory_info().rss  # its backend's processes hold the model
    assert own.machine is not None


def test_memory_that_nobody_tells_is_unknown(model: Model, server: TritonServer) -> None:
    with closing(open_backend(server.grpc_url(MODEL), EndpointOptions())) as silent:
        assert read_memory(replace(model, backend=silent)) == Memory()
    assert read_metrics(server.http_url(MODEL)) == {}
    assert read_metrics("http://127.0.0.1:1/metrics") == {}
    here = read_memory(replace(model, transport="onnx")).process
    assert here == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.1)
