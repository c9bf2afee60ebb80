"""What our clients cost beside the bare ones they stand on: tritonclient's own loop, and a hand-written LoadGen SUT."""

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
from pytest_benchmark.fixture import BenchmarkFixture
from tritonclient.utils import np_to_triton_dtype

from harness.backends import EndpointOptions
from harness.backends.triton import TritonBackend
from harness.load.clients import BackendClient
from harness.load.loadgen import Pace, drive
from harness.load.loops import open_loop
from harness.load.requests import Batches
from harness.load.scenarios import SingleStream
from harness.serving import TritonServer, find_tritonserver

REQUESTS = 1500
DETECTOR = "npr.mini_gan"
MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        told = [pb_utils.get_input_tensor_by_name(item, "image").to_dlpack() for item in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("score", item)]) for item in told]
"""
CONFIG = """
name: "echo"
backend: "python"
max_batch_size: 64
input [{ name: "image" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "score" data_type: TYPE_FP32 dims: [ 1 ] }]
dynamic_batching { }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[TritonServer]:
    """A Triton with a model that gives back what it gets, and a small detector."""
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    served: Path = tmp_path_factory.mktemp("served")
    (served / "echo" / "1").mkdir(parents=True)
    (served / "echo" / "1" / "model.py").write_text(MODEL)
    (served / "echo" / "config.pbtxt").write_text(CONFIG)
    shutil.copytree(repository / DETECTOR, served / DETECTOR)
    with TritonServer(served, threads=1) as running:
        yield running


def connect(server: TritonServer, model: str) -> TritonBackend:
    address = f"127.0.0.1:{server.grpc_port}"
    return TritonBackend(server.grpc_url(model), "grpc", address, model, "", EndpointOptions())


@pytest.fixture
def bare(server: TritonServer) -> Iterator[Any]:
    client = grpc_client.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    yield client
    client.close()


def asked(image: np.ndarray) -> list[Any]:
    item = grpc_client.InferInput("image", list(image.shape), np_to_triton_dtype(image.dtype))
    item.set_data_from_numpy(image)
    return [item]


def test_one_thread_sends_as_fast_as_tritonclients_loop(
    server: TritonServer, bare: Any, ratio: Callable[..., float], benchmark: BenchmarkFixture
) -> None:
    """Both send all at once and read every answer; ours schedules, times and keeps each one besides.

    The floor is there to catch work that a change adds to every request; two noisy cores must not miss it.
    """
    image, backend = np.ones((1, 1), np.float32), connect(server, "echo")

    def theirs() -> None:
        answered = threading.Semaphore(0)

        def came(result: Any, error: Any) -> None:
            result.as_numpy("score")
            answered.release()

        for _ in range(REQUESTS):
            bare.async_infer("echo", asked(image), came)
        for _ in range(REQUESTS):
            answered.acquire()

    def ours() -> None:
        with BackendClient(backend, "image", Batches([image[0]], 1)) as client:
            requests = open_loop(client, client.batches, np.zeros(REQUESTS), client.clock())
        assert all(isinstance(request.answer, dict) for request in requests)

    found = ratio(ours, theirs, rounds=7)
    backend.close()
    benchmark.extra_info["requests a second"] = REQUESTS / benchmark.stats.stats.median
    assert found >= 0.6


def test_loadgen_through_us_against_a_sut_by_hand(server: TritonServer, bare: Any, benchmark: BenchmarkFixture) -> None:
    """Median times of a request; the floor catches a copy or a lock added to each, and holds on two noisy cores."""
    loadgen = pytest.importorskip("mlperf_loadgen", reason="the extra `load` is not installed")
    image, backend = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8), connect(server, DETECTOR)
    times: list[float] = []

    def by_hand(samples: Any) -> None:
        started = time.perf_counter()
        bare.infer(DETECTOR, asked(image)).as_numpy("score")
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(item.id, 0, 0) for item in samples])
        times.append(time.perf_counter() - started)

    def theirs(folder: str) -> float:
        times.clear()
        settings, logs = loadgen.TestSettings(), loadgen.LogSettings()
        settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms, settings.min_query_count = 500, 1
        settings.single_stream_expected_latency_ns = 200_000
        logs.log_output.outdir = folder
        library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        system = loadgen.ConstructSUT(by_hand, lambda: None)
        loadgen.StartTestWithLogSettings(system, library, settings, logs, f"{folder}/audit.config")
        loadgen.DestroySUT(system)
        loadgen.DestroyQSL(library)
        return statistics.median(times)

    def ours() -> float:
        batches = Batches([image[0]], 1)
        with BackendClient(backend, "image", batches) as client:
            driven = drive(loadgen, SingleStream(), client, batches, 0.5, 1, Pace(0.001, 1000), 0)
        return statistics.median(request.answered - request.sent for request in driven.requests)

    with tempfile.TemporaryDirectory() as folder:
        pairs = [(theirs(folder), ours()) for _ in range(5)]
    benchmark.pedantic(ours, rounds=1)
    backend.close()
    benchmark.extra_info["ratios"] = [known / mine for known, mine in pairs]
    assert statistics.median(benchmark.extra_info["ratios"]) >= 0.8
