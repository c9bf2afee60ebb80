"""Retries, backoff and a limit on requests in flight, around any backend. Knows classes of failure, not transports."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray

from harness.backends.base import Backend, EndpointOptions, ModelInfo, Tensors
from harness.errors import EndpointError, EndpointTimeout, EndpointUnavailable

LONGEST_WAIT_S = 30.0

T = TypeVar("T")


class Limiter:
    """Bounds requests in flight; halves when the server pushes back, grows by one after as many answers as it allows.

    Args:
        most: upper bound; never below 1.
    """

    def __init__(self, most: int) -> None:
        self.most, self.limit = most, most
        self._flying, self._answered = 0, 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._flying < self.limit)
            self._flying += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._flying -= 1
            if kind is not None and issubclass(kind, EndpointUnavailable | EndpointTimeout):
                self.limit, self._answered = max(1, self.limit // 2), 0
            elif kind is None:
                self._answered += 1
                if self._answered >= self.limit and self.limit < self.most:
                    self.limit, self._answered = self.limit + 1, 0
            self._changed.notify_all()


class GuardedBackend:
    """A backend whose retryable failures are tried again.

    Args:
        inner: the transport.
        sleep: waits.
        draw: a number in [0, 1) for the jitter.
    """

    def __init__(
        self,
        inner: Backend,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.inner = inner
        self.endpoint: str = inner.endpoint
        self.options: EndpointOptions = inner.options
        self.limiter = Limiter(inner.options.concurrency)
        self._sleep, self._draw = sleep, draw

    def info(self) -> ModelInfo:
        """Ask the endpoint who it is, with retries."""
        return self._tried(self.inner.info)

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch, with retries, within the limit."""
        return self._tried(lambda: self.inner.infer(inputs))

    def close(self) -> None:
        """Close the transport."""
        self.inner.close()

    def _tried(self, ask: Callable[[], T]) -> T:
        tries = self.options.retries + 1
        for turn in range(tries):
            try:
                with self.limiter:
                    return ask()
            except EndpointError as error:
                if not error.retryable or turn == tries - 1:
                    raise
                wait = min(LONGEST_WAIT_S, self.options.backoff_s * 2**turn) * self._draw()
                self._sleep(max(wait, min(error.retry_after_s or 0.0, LONGEST_WAIT_S)))
        raise AssertionError("unreachable")
