"""What loads need of a real Triton: requests in the background, and the server's own times."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from harness.backends import EndpointOptions
from harness.backends.triton import TritonBackend
from harness.errors import EndpointError, EndpointRefused
from harness.load.clients import BackendClient
from harness.load.loops import open_loop
from harness.load.requests import Batches
from harness.load.watch import COMPUTE, spent
from harness.serving import TritonServer
from tests.contract.conftest import MODEL

IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8))


def connect(server: TritonServer, scheme: str, **options: Any) -> TritonBackend:
    port = server.grpc_port if scheme == "grpc" else server.http_port
    return TritonBackend(
        f"{scheme}://127.0.0.1:{port}/{MODEL}",
        scheme,
        f"127.0.0.1:{port}",
        MODEL,
        "",
        EndpointOptions(**options),
    )


def settled(backend: TritonBackend) -> dict[str, tuple[int, int]]:
    """Return a server's counters once they stand still: it counts a request after it has answered it."""
    until, now = time.perf_counter() + 5, backend.statistics()
    while time.perf_counter() < until:
        time.sleep(0.2)
        earlier, now = now, backend.statistics()
        if now == earlier:
            break
    assert now is not None
    return now


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_requests_in_the_background_are_answered_as_others(scheme: str, server: TritonServer) -> None:
    backend = connect(server, scheme)
    expected = [backend.infer({"image": image[None]})["score"] for image in IMAGES]
    before = settled(backend)
    with BackendClient(backend, "image", Batches(IMAGES, 1)) as client:
        requests = open_loop(client, client.batches, np.linspace(0, 0.2, 12), client.clock())
    after = settled(backend)
    for request in requests:
        assert not isinstance(request.answer, EndpointError)
        assert request.answer is not None
        np.testing.assert_allclose(request.answer["score"], expected[request.images[0]], atol=1e-6)
        assert request.scheduled <= request.sent <= request.answered
    times, seconds = spent(before, after, COMPUTE)
    assert times == 12
    in_all = sum(request.answered - request.sent for request in requests)
    assert 0 < seconds <= in_all
    backend.close()


def test_what_a_server_refuses_is_told_in_the_background(server: TritonServer) -> None:
    backend, came, there = connect(server, "grpc"), [], threading.Event()

    def done(answer: object) -> None:
        came.append(answer)
        there.set()

    backend.begin({"image": IMAGES[0][None, :64]}, done)
    assert there.wait(10)
    assert isinstance(came[0], EndpointRefused)
    backend.close()


def test_times_are_those_spent_meanwhile() -> None:
    assert spent({}, {}, COMPUTE) == (0, 0)
    assert spent({"queue": (1, 10)}, {"queue": (3, 2_000_000_010)}, ("queue",)) == (2, 2.0)
