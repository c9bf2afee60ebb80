"""Loops against clients that stall, fail and never answer."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.errors import EndpointError, EndpointTimeout, EndpointUnavailable
from harness.load.loops import closed_loop, open_loop
from harness.load.requests import Batches, Outputs, Request

IMAGES = [np.full((2, 2), value, np.uint8) for value in range(3)]


class Model:
    """Answers one request after the other, as a server with one thread does; stalls once."""

    def __init__(self, seconds: float = 0.0, stalls: float = 0.0, fails: bool = False) -> None:
        self.seconds, self.stalls, self.fails = seconds, stalls, fails
        self.lock, self.flying, self.most = threading.Lock(), 0, 0
        self.queue = ThreadPoolExecutor(1)

    def ask(self, images: Sequence[int]) -> Outputs:
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            with self.lock:
                stall, self.stalls = self.stalls, 0.0
                time.sleep(self.seconds + stall)
        finally:
            self.flying -= 1
        if self.fails:
            raise EndpointUnavailable("away")
        return {"score": np.zeros((len(images), 1))}

    def begin(self, request: Request) -> Callable[[], object]:
        request.sent = time.perf_counter()

        def run() -> None:
            try:
                answer: Outputs | EndpointError = self.ask(request.images)
            except EndpointError as error:
                answer = error
            request.close(answer, time.perf_counter())

        return self.queue.submit(run).cancel


def latencies(requests: Sequence[Request]) -> np.ndarray:
    return np.array([request.answered - request.scheduled for request in requests])


def test_an_open_loop_counts_what_a_stall_costs_everybody() -> None:
    """A server that stands still for 0.3 s keeps all waiting that were due meanwhile; a closed loop sees one."""
    due = np.arange(0, 0.5, 0.01)
    requests = open_loop(Model(stalls=0.3), Batches(IMAGES, 1), due, time.perf_counter())
    late = latencies(requests)
    assert len(requests) == len(due)
    assert np.count_nonzero(late > 0.01) >= 25
    assert (late[:25] >= 0.3 - due[:25] - 0.02).all()
    sent = np.array([request.sent - request.scheduled for request in requests])
    assert (sent >= 0).all()
    assert np.median(sent) < 0.1  # it did not wait for answers to send
    closed = closed_loop(Model(0.01, stalls=0.3), Batches(IMAGES, 1), 1, 0.5)
    assert 1 <= np.count_nonzero(latencies(closed) > 0.2) <= 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_closed_loop_keeps_so_many_in_flight(concurrency: int) -> None:
    model = Model(0.005)
    requests = closed_loop(model, Batches(IMAGES, 2), concurrency, 0.2)
    assert model.most == concurrency
    first = [request.images for request in requests[:3]]
    assert set(first) == {(0, 1), (2, 0), (1, 2)}
    assert concurrency > 1 or first == [(0, 1), (2, 0), (1, 2)]
    assert all(request.answer is not None and request.sent == request.scheduled for request in requests)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_interrupt_ends_a_closed_loop(concurrency: int) -> None:
    class Interrupted(Model):
        def ask(self, images: Sequence[int]) -> Outputs:
            if images == (2,):
                raise KeyboardInterrupt
            return super().ask(images)

    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        closed_loop(Interrupted(0.005), Batches(IMAGES, 1), concurrency, 20)
    assert time.perf_counter() - started < 10


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
def test_ctrl_c_ends_a_closed_loop() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of several ignores it
    started = time.perf_counter()
    main = threading.get_ident()
    threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            closed_loop(Model(0.005), Batches(IMAGES, 1), 2, 20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.perf_counter() - started < 10


def test_an_endpoint_that_is_away_is_not_flooded() -> None:
    requests = closed_loop(Model(fails=True), Batches(IMAGES, 1), 1, 0.2)
    assert 1 < len(requests) < 15
    assert all(isinstance(request.answer, EndpointUnavailable) for request in requests)


class Held(Model):
    """Answers nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def ask(self, images: Sequence[int]) -> Outputs:
        self.free.wait(30)
        return super().ask(images)


def test_what_is_not_answered_in_time_has_timed_out() -> None:
    model = Held()
    requests = open_loop(model, Batches(IMAGES, 1), np.zeros(3), time.perf_counter(), drain_s=0.05)
    assert all(isinstance(request.answer, EndpointTimeout) for request in requests)
    assert np.isnan(latencies(requests)).all()
    model.free.set()
    model.queue.shutdown()
    assert all(isinstance(request.answer, EndpointTimeout) for request in requests)  # what comes later changes nothing


def test_a_loop_of_no_use_is_ended() -> None:
    due = np.arange(0, 5, 0.05)
    requests = open_loop(
        Model(), Batches(IMAGES, 1), due, time.perf_counter(), hopeless=lambda requests, now: len(requests) > 3
    )
    assert 3 < len(requests) < 12


def test_batches_take_images_in_turn() -> None:
    batches = Batches(IMAGES, 2)
    assert [batches.turn(number) for number in range(4)] == [(0, 1), (2, 0), (1, 2), (0, 1)]
    np.testing.assert_array_equal(batches.tensor((2, 0)), np.stack([IMAGES[2], IMAGES[0]]))
    assert batches.tensor((2, 0)) is batches.tensor([2, 0])
    np.testing.assert_array_equal(batches.tensor([1]), IMAGES[1][None])
