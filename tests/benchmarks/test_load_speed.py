"""What our clients cost beside others: tritonclient's own loop, a LoadGen SUT by hand, an open loop written in C."""

import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from pytest_benchmark.fixture import BenchmarkFixture
from tritonclient.utils import np_to_triton_dtype

from harness.backends import EndpointOptions
from harness.backends.triton import TritonBackend
from harness.load.bench import pace_of
from harness.load.clients import BackendClient
from harness.load.loadgen import Pace, drive
from harness.load.loops import closed_loop, open_loop
from harness.load.requests import Batches
from harness.load.scenarios import SingleStream
from harness.load.schedule import schedule
from harness.serving import TritonServer, find_tritonserver

REQUESTS = 1500
CONNECTIONS = 32
LONG = os.environ.get("DISCERN_SOAK") == "1"
"""Whether there is time to hold our clients to what they promise; two noisy cores can't in a second."""

DETECTOR = "npr.mini_gan"
ECHOES = {"echo": ("0", "dynamic_batching { }"), "steady": ("0.005", "")}
"""Models that give back what they get, by seconds a request and settings; the second answers one after the other."""

MODEL = """
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(PAUSE)
        told = [pb_utils.get_input_tensor_by_name(item, "image").to_dlpack() for item in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("score", item)]) for item in told]
"""
CONFIG = """
backend: "python"
max_batch_size: 64
input [{ name: "image" data_type: TYPE_FP32 dims: [ -1 ] }]
output [{ name: "score" data_type: TYPE_FP32 dims: [ -1 ] }]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[TritonServer]:
    """A Triton with models that give back what they get, and a small detector."""
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    served: Path = tmp_path_factory.mktemp("served")
    for name, (pause, settings) in ECHOES.items():
        (served / name / "1").mkdir(parents=True)
        (served / name / "1" / "model.py").write_text(MODEL.replace("PAUSE", pause))
        (served / name / "config.pbtxt").write_text(CONFIG + settings)
    shutil.copytree(repository / DETECTOR, served / DETECTOR)
    with TritonServer(served, threads=1) as running:
        yield running


def connect(server: TritonServer, model: str, scheme: str = "grpc") -> TritonBackend:
    address = f"127.0.0.1:{server.grpc_port if scheme == 'grpc' else server.http_port}"
    return TritonBackend(f"{scheme}://{address}/{model}", scheme, address, model, "", EndpointOptions())


@contextmanager
def one_core() -> Iterator[None]:
    """Keep all threads of this process on one core; a server that runs already keeps its own."""
    kept = {int(path.name): os.sched_getaffinity(int(path.name)) for path in Path("/proc/self/task").iterdir()}
    first = {min(os.sched_getaffinity(0))}
    try:
        for thread in kept:
            os.sched_setaffinity(thread, first)
        yield
    finally:
        for path in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(path.name), kept.get(int(path.name), kept[os.getpid()]))


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

    One core is theirs. The floor is there to catch work that a change adds to every request; two noisy cores must not
    miss it.
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

    with one_core():
        found = ratio(ours, theirs, rounds=7)
    backend.close()
    benchmark.extra_info["requests a second"] = REQUESTS / benchmark.stats.stats.median
    assert found >= (0.8 if LONG else 0.6)


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
        pairs = [(theirs(folder), ours()) for _ in range(31 if LONG else 5)]
    benchmark.pedantic(ours, rounds=1)
    backend.close()
    benchmark.extra_info["ratios"] = [known / mine for known, mine in pairs]
    assert statistics.median(benchmark.extra_info["ratios"]) >= (0.97 if LONG else 0.8)


@pytest.fixture(scope="module")
def openloop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in C, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here: apt-get install gcc")
    program: Path = tmp_path_factory.mktemp("openloop") / "openloop"
    source = Path(__file__).with_name("openloop.c")
    subprocess.run([compiler, "-O2", "-std=gnu11", "-pthread", "-o", program, source], check=True)
    return program


def recorded(image: np.ndarray, address: str) -> bytes:
    """Return a binary KServe v2 request as it travels over HTTP, made without ours."""
    item = http_client.InferInput("image", list(image.shape), np_to_triton_dtype(image.dtype))
    item.set_data_from_numpy(image)
    body, header = http_client.InferenceServerClient.generate_request_body([item])
    lines = (
        "POST /v2/models/steady/infer HTTP/1.1",
        f"Host: {address}",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {header}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + bytes(body)


def test_an_open_loop_at_70_percent_of_the_peak_agrees_with_a_client_in_c(
    server: TritonServer, openloop: Path, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    """Both keep the same Poisson schedules over HTTP, by turns; the model takes as long for every request.

    With the time that DISCERN_SOAK=1 gives them, their 99th percentiles agree; in a second only medians can.
    """
    rounds, seconds, percent, within = (15, 4.0, 99, 0.1) if LONG else (3, 0.5, 50, 1.0)
    image = np.random.default_rng(0).random((1, 128 * 96), np.float32)
    backend, request = connect(server, "steady", "http"), tmp_path / "request"
    request.write_bytes(recorded(image, f"127.0.0.1:{server.http_port}"))

    def theirs(due: np.ndarray) -> np.ndarray:
        command = [openloop, "127.0.0.1", str(server.http_port), str(CONNECTIONS), request]
        lines = "\n".join(map(repr, due.tolist()))
        said = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        return np.array(said.stdout.split(), np.float64)

    with BackendClient(backend, "image", Batches([image[0]], 1)) as client:

        def ours(due: np.ndarray) -> np.ndarray:
            requests = open_loop(client, client.batches, due, client.clock() + 0.1)
            assert all(isinstance(item.answer, dict) for item in requests)
            return np.array([item.answered - item.scheduled for item in requests])

        peak = pace_of(closed_loop(client, client.batches, 4, 0.5))
        schedules = [schedule(0.7 * peak, seconds, "poisson", seed) for seed in range(rounds)]
        pairs = []
        for turn, due in enumerate(schedules):
            told = {ask: ask(due) for ask in ((ours, theirs) if turn % 2 else (theirs, ours))}
            assert len(told[ours]) == len(told[theirs]) == len(due)
            pairs.append([np.percentile(told[ask], (50, 99)).tolist() for ask in (ours, theirs)])
        benchmark.pedantic(ours, (schedules[0],), rounds=1)
    backend.close()
    ratios = {q: [mine[place] / other[place] for mine, other in pairs] for place, q in enumerate((50, 99))}
    benchmark.extra_info |= {"peak": peak, "seconds of ours and theirs, p50 and p99": pairs, "ratios": ratios}
    assert 1 / (1 + within) <= statistics.median(ratios[percent]) <= 1 + within
