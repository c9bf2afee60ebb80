"""A model's backend as loads ask it: every request tried once, in the caller's thread or in the background."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, cast

from harness.backends.base import Backend
from harness.backends.fleet import FleetBackend
from harness.backends.policy import GuardedBackend
from harness.errors import EndpointError
from harness.load.requests import Batches, Clock, Outputs, Request

if TYPE_CHECKING:
    from harness.backends.triton import TritonBackend

MOST_CONNECTIONS = 256
"""Requests in flight at once where each needs a thread of its own; more wait, which shows as the client's lag."""


def single_try(backend: Backend) -> Backend:
    """Return what a backend's policy stands around: it neither tries again nor limits requests in flight.

    A fleet sends each request to one member, and asks others for a while where that one fails.
    """
    if isinstance(backend, GuardedBackend):
        return single_try(backend.inner)
    if isinstance(backend, FleetBackend):
        return FleetBackend([single_try(member) for member in backend.members], backend.options, tries=1)
    return backend


class BackendClient:
    """Asks a backend about batches of a load's images; a context manager.

    While it is open, the garbage collector passes over what was there before: walking through a process's every object
    takes it tens of milliseconds, in which nothing is sent.

    Over gRPC, requests in the background are tritonclient's asynchronous ones. Elsewhere each has a thread: of a model
    in this process as many as the endpoint's ``concurrency``, which are the model's server here, so that a request
    counts as sent when it is handed to them; of HTTP up to :data:`MOST_CONNECTIONS`, each with a connection.

    Args:
        backend: the model's.
        name: of its input.
        batches: the images.
        clock: seconds.
    """

    def __init__(self, backend: Backend, name: str, batches: Batches, clock: Clock = time.perf_counter) -> None:
        self.backend, self.name, self.batches, self.clock = single_try(backend), name, batches, clock
        scheme = backend.endpoint.partition(":")[0]
        self._begins = scheme in ("grpc", "grpcs")
        self._near = scheme in ("onnx", "scripted")
        self._width = backend.options.concurrency if self._near else MOST_CONNECTIONS
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        gc.freeze()
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def ask(self, images: Sequence[int]) -> Outputs:
        """Answer one request; raises EndpointError."""
        return self.backend.infer(self._inputs(images))

    def begin(self, request: Request) -> Callable[[], object]:
        """Send a request and return at once what cancels it."""
        if self._begins:
            request.sent = self.clock()
            backend = cast("TritonBackend", self.backend)
            return backend.begin(self._inputs(request.images), lambda answer: request.close(answer, self.clock()))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._width, thread_name_prefix="load")
        if self._near:
            request.sent = self.clock()
        return self._pool.submit(self._run, request).cancel

    def _run(self, request: Request) -> None:
        if not self._near:
            request.sent = self.clock()
        try:
            answer = self.ask(request.images)
        except EndpointError as error:
            request.close(error, self.clock())
        else:
            request.close(answer, self.clock())

    def _inputs(self, images: Sequence[int]) -> dict[str, Any]:
        return {self.name: self.batches.tensor(images)}
