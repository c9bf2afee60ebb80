"""What a server and this process tell of a load: Triton's own times, and memory. Sends no request that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
    """Looks at a model from when this is made."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.before = self._counters()

    def server(self) -> tuple[float | None, float | None]:
        """Return seconds a request in Triton's queue, and in its compute stages; None of other servers."""
        after = self._counters()
        times, waited = spent(self.before, after, ("queue",))
        return (waited / times, spent(self.before, after, COMPUTE)[1] / times) if times else (None, None)

    def memory(self) -> int | None:
        """Return this process's resident bytes, where the model is in it and the system tells."""
        if not self.model.local:
            return None
        try:
            lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)

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
