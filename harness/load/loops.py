"""Closed and open loops: who sends when. Counts latency from when a request was due; computes no figure."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from harness.errors import EndpointError, EndpointTimeout, problem
from harness.load.requests import PAUSE_S, Batches, Client, Clock, Request

DRAIN_S = 5.0
"""An open loop waits so long for answers after its last request; those that come later count as none."""

DRAIN_EVERY_S = 0.002
"""It looks so often whether they came."""

WATCH_S = 0.2
"""An open loop looks so often whether going on is of use."""

HopelessAt = Callable[[Sequence[Request], float], bool]
"""Whether going on is of no use, from the requests that were due and the time."""


def closed_loop(
    client: Client, batches: Batches, concurrency: int, seconds: float, clock: Clock = time.perf_counter
) -> list[Request]:
    """Keep so many requests in flight for some seconds.

    A request is wanted when it is sent: a closed loop has no schedule that it could miss; it slows with the model.
    What breaks it, an interrupt too, ends it with the requests that are in flight.

    Returns:
        All requests, in the order in which they were sent.
    """
    turns, over = itertools.count(), threading.Event()
    end = clock() + seconds

    def worker() -> list[Request]:
        mine = []
        while clock() < end and not over.is_set():
            images = batches.turn(next(turns))
            mine.append(request := asked(client, images, clock))
            if isinstance(request.answer, EndpointError):
                time.sleep(PAUSE_S)
        return mine

    with ThreadPoolExecutor(concurrency, thread_name_prefix="load") as pool:
        try:
            workers = [pool.submit(worker) for _ in range(concurrency)]
            wait(workers, return_when=FIRST_EXCEPTION)
        finally:
            over.set()
        requests = [request for future in workers for request in future.result()]
    return sorted(requests, key=lambda request: request.sent)


def asked(client: Client, images: Sequence[int], clock: Clock) -> Request:
    """Send one request now, and return it when it is answered."""
    now = clock()
    request = Request(images, now, now)
    try:
        answer = client.ask(images)
    except EndpointError as error:
        request.close(error, clock())
    else:
        request.close(answer, clock())
    return request


def open_loop(
    client: Client,
    batches: Batches,
    due: NDArray[np.float64],
    start: float,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    hopeless: HopelessAt | None = None,
    drain_s: float = DRAIN_S,
) -> list[Request]:
    """Send requests when they are due, whatever has been answered.

    Args:
        client, batches: what is asked, about what.
        due: seconds from ``start``, ascending, (n,).
        start: a time of the clock; before 0 stands what warms up.
        clock: seconds.
        sleep: waits.
        hopeless: ends the loop early.
        drain_s: wait for answers after the last request.

    Returns:
        The requests that were sent, in order; one without an answer in time has timed out.
    """
    requests: list[Request] = []
    flying: deque[tuple[Request, Callable[[], object]]] = deque()
    watched = start
    for number, after in enumerate(due.tolist()):
        scheduled = start + after
        while (now := clock()) < scheduled:
            sleep(scheduled - now)
        request = Request(batches.turn(number), scheduled)
        requests.append(request)
        flying.append((request, client.begin(request)))
        _land(flying)
        if hopeless is not None and now - watched > WATCH_S:
            watched = now
            if hopeless(requests, now):
                break
    end = clock() + drain_s
    while flying and clock() < end:
        sleep(DRAIN_EVERY_S)
        _land(flying)
    late = EndpointTimeout(
        problem("open loop", f"an answer within {drain_s:g} s of the last request", "none", "Lower the rate")
    )
    for request, cancel in flying:
        if request.answer is None:
            request.close(late, float("nan"))
            cancel()
    return requests


def _land(flying: deque[tuple[Request, Callable[[], object]]]) -> None:
    """Let go of requests that are answered, up to the first that is not."""
    while flying and flying[0][0].answer is not None:
        flying.popleft()
