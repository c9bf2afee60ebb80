"""Inputs that cross to a server on this host outside the message, in regions that are reused between requests."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

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

    def discard(self) -> None:
        """Close and unlink the region."""
        self.memory.close()
        with suppress(FileNotFoundError):
            self.memory.unlink()


class Regions:
    """Registered regions of one backend; switched off for good where the server does not take one, or none is left.

    The operating system's resource tracker unlinks them if this process dies.

    Args:
        client: returns the tritonclient client of the calling thread.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._idle: list[Slot] = []
        self._all: list[Slot] = []
        self._made = 0
        self._refused = False

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
        """Take a region back."""
        with self._lock:
            self._idle.append(slot)

    def close(self) -> None:
        """Unregister and unlink every region."""
        for slot in self._all:
            with suppress(Exception):
                self._client().unregister_system_shared_memory(slot.name)
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
            self._client().register_system_shared_memory(slot.name, f"/{slot.name}", slot.memory.size)
        except (InferenceServerException, OSError):
            self._refused = True
            slot.discard()
            return None
        with self._lock:
            self._all.append(slot)
        return slot
