"""MLPerf LoadGen itself drives scripted models; what it says is held against what was counted."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness.backends import EndpointOptions
from harness.backends.scripted import Fault, Script, ScriptedBackend
from harness.card import Card
from harness.errors import EndpointTimeout
from harness.load.clients import BackendClient
from harness.load.loadgen import Driven, Pace, drive, read_verdict
from harness.load.requests import Batches, Outputs
from harness.load.scenarios import Load, parse_scenario

loadgen = pytest.importorskip("mlperf_loadgen", reason="the extra `load` is not installed")

IMAGES = [np.full((4, 4, 3), value, np.uint8) for value in range(5)]
DELAY_S = 0.004


class Recording(BackendClient):
    """A client that keeps which images it was asked about."""

    asked: list[tuple[int, ...]]

    def ask(self, images: Sequence[int]) -> Outputs:
        self.asked.append(tuple(images))
        return super().ask(images)


def run(
    load: Load, *faults: Fault, seconds: float = 0.5, batch: int = 4, pace: float = 1000.0
) -> tuple[Driven, list[tuple[int, ...]]]:
    script = Script(card=Card(name="a.b"), delay_s=DELAY_S, faults=faults)
    backend = ScriptedBackend("scripted:", script, EndpointOptions(concurrency=2))
    batches = Batches(IMAGES, batch)
    with Recording(backend, "image", batches) as client:
        client.asked = []
        return drive(loadgen, load, client, batches, seconds, 2, Pace(DELAY_S, pace), 0), client.asked


def latencies(driven: Driven) -> np.ndarray:
    return np.array([request.answered - request.scheduled for request in driven.requests])


def told(driven: Driven) -> float:
    return float(driven.verdict.rpartition(":")[2])


def test_single_stream_asks_one_after_the_other() -> None:
    driven, asked = run(parse_scenario("SingleStream"), seconds=1.5)
    assert driven.verdict.startswith("VALID; 90.0th percentile latency (ns)")
    assert {len(images) for images in asked} == {1}
    ours = np.quantile(latencies(driven), 0.9, method="lower")
    assert ours <= told(driven) / 1e9 <= 1.3 * ours + 2e-3  # LoadGen's has the way to us and back in it
    sent = [(request.sent, request.answered) for request in driven.requests]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(sent))
    assert sent[-1][1] - sent[0][0] >= 0.45


def test_multi_stream_asks_so_many_at_once() -> None:
    driven, asked = run(parse_scenario({"MultiStream": {"samples_per_query": 3}}), pace=300)
    assert "Min duration" not in driven.verdict  # a model that is twice as fast as known does not run out of queries
    assert {len(images) for images in asked} == {3}
    assert len(driven.requests) == len(asked)
    assert "99.0th percentile latency" in driven.verdict


def test_server_counts_from_when_a_query_was_due() -> None:
    """Three times what two threads can answer: queries wait, and LoadGen's own percentile says how long."""
    driven, asked = run(parse_scenario({"Server": {"target_qps": 1000, "target_latency_ms": 20}}), seconds=0.4)
    assert driven.verdict.startswith("INVALID (Performance constraints satisfied")
    late = latencies(driven)
    assert len(late) == len(asked) > 200
    assert late[-20:].mean() > 0.1
    due = np.array([request.scheduled for request in driven.requests])
    assert (np.diff(due) >= 0).all()
    assert due[-1] - due[0] == pytest.approx(len(due) / 1000, rel=0.25)
    assert all(request.sent >= request.scheduled - 1e-9 for request in driven.requests)


def test_offline_asks_batches_of_one_query() -> None:
    driven, asked = run(parse_scenario("Offline"), seconds=0.2)
    assert {len(images) for images in asked[:-2]} == {4}
    assert sum(map(len, asked)) >= 200
    assert len({request.scheduled for request in driven.requests}) == 1
    images = sum(len(request.images) for request in driven.requests)
    last = max(request.answered for request in driven.requests) - driven.requests[0].scheduled
    assert told(driven) == pytest.approx(images / last, rel=0.1)


def test_failures_are_kept_and_end_nothing() -> None:
    driven, _ = run(parse_scenario("SingleStream"), Fault(kind="timeout", first=2, every=3, times=2), seconds=0.3)
    failed = [request for request in driven.requests if isinstance(request.answer, EndpointTimeout)]
    assert len(failed) == 2
    assert len(driven.requests) > 6


@pytest.mark.parametrize("scenario", ["SingleStream", "Offline", "Server target_qps=200 target_latency_ms=100"])
def test_an_interrupt_gets_out_of_loadgen(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    where = "begin" if scenario.startswith("Server") else "ask"
    monkeypatch.setattr(Recording, where, stop)
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run(parse_scenario(scenario), seconds=0.1)
    assert time.perf_counter() - started < 5


def test_verdicts_are_read_with_what_does_not_hold() -> None:
    summary = "Samples per second: 236.5\nResult is : INVALID\n  Min duration satisfied : NO\n  Others satisfied : Yes"
    assert read_verdict(summary) == "INVALID (Min duration satisfied: no); Samples per second: 236.5"
