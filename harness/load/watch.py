"""What a server tells of the time that its requests took, from the end of a warm-up on. Sends no request of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from harness.load.clients import single_try
from harness.models import Model

if TYPE_CHECKING:
    from harness.backends.triton import TritonBackend

COMPUTE = ("compute_input", "compute_infer", "compute_output")
"""Stages of Triton's statistics that are computing."""

Counters = Mapping[str, tuple[int, int]]
"""Times and nanoseconds by stage."""


class Watch:
    """Looks at a model's counters; a context manager.

    Args:
        model: the model.
        wait_s: seconds until it begins, in the background; what was answered before does not count.
    """

    def __init__(self, model: Model, wait_s: float = 0.0) -> None:
        self.model = model
        self.wait_s = wait_s
        self._before: Counters | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Watch:
        if self.wait_s > 0:
            self._timer = threading.Timer(self.wait_s, self._begin)
            self._timer.daemon = True
            self._timer.start()
        else:
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_wait()

    def server(self) -> tuple[float | None, float | None]:
        """Return seconds a request in Triton's queue, and in its compute stages; None of other servers.

        Nor is it known of a load that ended before its warm-up did, or of a server that went away, or began to count
        anew, meanwhile.
        """
        self._end_wait()
        if not self._before:
            return None, None
        after = self._counters()
        times, waited = spent(self._before, after, ("queue",))
        return (waited / times, spent(self._before, after, COMPUTE)[1] / times) if times > 0 else (None, None)

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _begin(self) -> None:
        self._before = self._counters()

    def _counters(self) -> Counters:
        backend = single_try(self.model.backend)
        if not hasattr(backend, "statistics"):
            return {}
        return cast("TritonBackend", backend).statistics() or {}


def spent(before: Counters, after: Counters, stages: tuple[str, ...]) -> tuple[int, float]:
    """Return how often the first of some stages was gone through meanwhile, and the seconds spent in all of them."""
    counts = [after.get(name, (0, 0))[0] - before.get(name, (0, 0))[0] for name in stages]
    ns = [after.get(name, (0, 0))[1] - before.get(name, (0, 0))[1] for name in stages]
    return counts[0], sum(ns) / 1e9
