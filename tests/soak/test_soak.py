"""A real Triton under most of what it can take, for long: nothing is lost, and neither side grows."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from harness.backends import Backend, EndpointOptions, open_backend
from harness.load.clients import BackendClient, single_try
from harness.load.loops import closed_loop, open_loop
from harness.load.requests import Batches, Request
from harness.load.schedule import schedule
from harness.serving import TritonServer, find_tritonserver

DETECTOR = "npr.mini_gan"
IMAGES, SIDE = 32, 128
MINUTES = float(os.environ.get("DISCERN_SOAK_MINUTES", "30"))
SHARE = 0.8
KINDS = ("handles", "threads", "queue")
WINDOW_S = 5.0
"""Requests are sent, held against answers at rest and forgotten in windows of so many seconds."""

DRAIN_S = 60.0
GROWTH = 4 << 20
"""Bytes that a line fitted to a side's resident memory may rise over the second half of the time, beside its queue.

Where the machine stalls, requests wait, and an allocator keeps their memory for the next ones: what the deepest queue
of that half held is no leak.
"""


@dataclass(frozen=True)
class Sample:
    """What one side holds at one moment.

    Attributes:
        at: seconds since the start.
        bytes: resident, of its processes together.
        handles, threads: the same.
        queue: most requests that were under way at once since the sample before.
    """

    at: float
    bytes: int
    handles: int
    threads: int
    queue: int


def look(processes: Sequence[psutil.Process], at: float, queue: int) -> Sample:
    return Sample(
        at,
        sum(process.memory_info().rss for process in processes),
        sum(process.num_fds() for process in processes),
        sum(process.num_threads() for process in processes),
        queue,
    )


def deepest(requests: Sequence[Request]) -> int:
    """Return how many requests were under way at once, at most."""
    sent = np.sort([request.sent for request in requests])
    answered = np.sort([request.answered for request in requests])
    return int((np.arange(1, len(sent) + 1) - np.searchsorted(answered, sent)).max())


def rise(samples: Sequence[Sample]) -> float:
    """Return by how many bytes a line fitted to the second half rises over it."""
    half = samples[len(samples) // 2 :]
    at = np.array([sample.at for sample in half])
    return float(np.polyfit(at, [sample.bytes for sample in half], 1)[0] * (at[-1] - at[0]))


def most(samples: Sequence[Sample], kind: str, *quarters: int) -> int:
    """Return the largest number of handles, threads or requests under way in quarters of the time, from 0."""
    bounds = [len(samples) * edge // 4 for edge in (quarters[0], quarters[-1] + 1)]
    return max(int(getattr(sample, kind)) for sample in samples[bounds[0] : bounds[1]])


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    with TritonServer(repository, [DETECTOR], threads=1) as running:
        yield running


@pytest.fixture(scope="module")
def backend(server: TritonServer) -> Iterator[Backend]:
    opened = open_backend(server.grpc_url(DETECTOR), EndpointOptions(timeout_s=DRAIN_S))
    yield opened
    opened.close()


def peak(client: BackendClient, batches: Batches) -> float:
    """Return requests a second of the fastest closed loop."""
    rates = []
    for width in (2, 4, 8):
        requests = closed_loop(client, batches, width, 5.0)
        assert all(isinstance(request.answer, dict) for request in requests)
        rates.append(len(requests) / (max(item.answered for item in requests) - min(item.sent for item in requests)))
    return max(rates)


def wrong(requests: Sequence[Request], known: NDArray[np.float32], output: str) -> list[str]:
    """Return what came of those requests that have no answer, or another one than at rest."""
    found = []
    for request in requests:
        if not isinstance(request.answer, dict):
            found.append(str(request.answer))
        elif not np.allclose(request.answer[output].ravel(), known[list(request.images)].ravel(), rtol=1e-4, atol=1e-4):
            found.append(f"another answer to {request.images}")
    return found


def succeeded(backend: Backend) -> int:
    """Return how many requests the server says that it has answered; it counts a moment after it answers."""
    time.sleep(1)
    return int(single_try(backend).statistics()["success"][0])  # type: ignore[attr-defined]


def test_a_long_load_loses_nothing_and_neither_side_grows(
    server: TritonServer, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,), (output,) = (list(tensors) for tensors in (backend.info().inputs, backend.info().outputs))
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    known = np.stack([backend.infer({name: image[None]})[output][0] for image in images])
    batches = Batches(list(images), 1)
    assert server.pid is not None
    triton = psutil.Process(server.pid)
    sides = {"client": [psutil.Process()], "server": [triton, *triton.children(recursive=True)]}
    seen: dict[str, list[Sample]] = {side: [] for side in sides}
    late: list[float] = []
    sent = 0
    with BackendClient(backend, name, batches) as client:
        rate = SHARE * peak(client, batches)
        before, started = succeeded(backend), time.monotonic()
        while (at := time.monotonic() - started) < 60 * MINUTES:
            due = schedule(rate, WINDOW_S, "poisson", seed=sent)
            requests = open_loop(client, batches, due, client.clock(), drain_s=DRAIN_S)
            assert wrong(requests, known, output) == []
            late.append(float(np.percentile([item.answered - item.scheduled for item in requests], 99)))
            sent += len(requests)
            for side, processes in sides.items():
                seen[side].append(look(processes, at, deepest(requests)))
    with capsys.disabled():
        sys.stdout.write(f"\n{sent} requests, {rate:.0f} a second, p99 {1000 * np.median(late):.1f} ms\n")
        for side, samples in seen.items():
            counts = {kind: [most(samples, kind, quarter) for quarter in range(4)] for kind in KINDS}
            held = [round(sample.bytes / 2**20) for sample in samples[:: max(1, len(samples) // 10)]]
            sys.stdout.write(
                f"{side}: {rise(samples) / 2**20:+.2f} MiB over the second half, {held} MiB, by quarters {counts}\n"
            )
    assert succeeded(backend) - before == sent
    for samples in seen.values():
        assert rise(samples) <= GROWTH + images[0].nbytes * most(samples, "queue", 2, 3)
        assert most(samples, "handles", 3) <= most(samples, "handles", 1)
        assert most(samples, "threads", 3) <= most(samples, "threads", 1)
