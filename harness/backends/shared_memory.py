"""Inputs that cross to a server on this host outside the message, in regions that are reused between requests."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1 << 16
"""Smaller inputs travel in the message."""

MOST = 64
"""Regions of one backend; inputs of more requests at once travel in the message."""


class Slot:
    """A region, used by one request at a time; its memory is there from the start, or OSError is raised.

    Its name tells which process made it.
    """

    def __init__(self, owner: Regions, size: int) -> None:
        self.name = f"discern-{os.getpid()}-{uuid.uuid4().hex[:16]}"
        self.memory = SharedMemory(name=self.name, create=True, size=size)
        self.owner = owner
        try:  # a file cut to size has no memory yet: where there is none left, the first write would kill the process
            with Path("/dev/shm", self.name).open("r+b") as region:
                os.posix_fallocate(region.fileno(), 0, size)
        except OSError:
            self.discard()
            raise

    def give_back(self) -> None:
        """Let another request use the region."""
        self.owner.free(self)

    def lose(self) -> None:
        """Say that the server does not know the region any more."""
        self.owner.lose(self)

    def discard(self) -> None:
        """Close and unlink the region."""
        self.memory.close()
        with suppress(FileNotFoundError):
            self.memory.unlink()


def sweep_regions() -> None:
    """Unlink the regions of processes that are gone."""
    for region in Path("/dev/shm").glob("discern-*-*"):
        pid = region.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(OSError):
                region.unlink()


class Regions:
    """Registered regions of one backend; switched off for good where the server does not take one, or none is left.

    Python's resource tracker unlinks them if this process dies; where it died with it, the next process does.

    Args:
        client: returns the tritonclient client of the calling thread.
        limit: what bounds the time of its calls, by the names of their parameters.
    """

    def __init__(self, client: Callable[[], Any], limit: Mapping[str, float] | None = None) -> None:
        self._client, self._limit = client, limit or {}
        self._lock = threading.Lock()
        self._idle: list[Slot] = []
        self._all: list[Slot] = []
        self._made = 0
        self._refused = False
        sweep_regions()

    def take(self, value: NDArray[Any]) -> Slot | None:
        """Copy an input into a region; None where it is small, all are in use, or the server takes none."""
        if self._refused or value.nbytes < SMALLEST:
            return None
        slot = self._fitting(value.nbytes)
        if slot is None:
            slot = self._register(value.nbytes)
            if slot is None:
                return None
        np.ndarray(value.shape, value.dtype, buffer=slot.memory.buf)[...] = value
        return slot

    def free(self, slot: Slot) -> None:
        """Take a region back, or discard it where it was lost meanwhile."""
        with self._lock:
            known = slot in self._all
            if known:
                self._idle.append(slot)
        if not known:
            slot.discard()

    def lose(self, slot: Slot) -> None:
        """Forget every region that was made before the server lost this one; those in use go when they come back."""
        with self._lock:
            if slot not in self._all:
                return
            lost, self._idle, self._all, self._made = self._idle, [], [], 0
        for item in lost:
            item.discard()

    def close(self) -> None:
        """Unregister and unlink every region; a server that does not answer is not asked about the next one."""
        answers = True
        for slot in self._all:
            try:
                if answers:
                    self._client().unregister_system_shared_memory(slot.name, **self._limit)
            except Exception:
                answers = False
            slot.discard()
        self._all, self._idle, self._made = [], [], 0

    def _fitting(self, size: int) -> Slot | None:
        with self._lock:
            for index, slot in enumerate(self._idle):
                if slot.memory.size >= size:
                    return self._idle.pop(index)
        return None

    def _register(self, size: int) -> Slot | None:
        with self._lock:
            if self._made == MOST:
                return None
            self._made += 1
        try:
            slot = Slot(self, size)
        except OSError:
            self._refused = True
            return None
        try:
            self._client().register_system_shared_memory(slot.name, f"/{slot.name}", slot.memory.size, **self._limit)
        except Exception:  # tritonclient's, gRPC's, a socket's or the HTTP client's: the message takes it as well
            self._refused = True
            slot.discard()
            return None
        with self._lock:
            self._all.append(slot)
        return slot
