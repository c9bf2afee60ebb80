"""Regions of shared memory against a client that only registers them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends import shared_memory
from harness.backends.shared_memory import MOST, SMALLEST, Regions, Slot

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm on this system")

VALUE = np.arange(SMALLEST, dtype=np.uint8)


class Registry:
    """A server's side of shared memory."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def register_system_shared_memory(self, name: str, key: str, size: int) -> None:
        assert Path("/dev/shm", key.strip("/")).stat().st_size == size
        self.names.add(name)

    def unregister_system_shared_memory(self, name: str) -> None:
        self.names.remove(name)


def test_there_are_so_many_regions_and_no_more() -> None:
    registry = Registry()
    regions = Regions(lambda: registry)
    taken = [slot for _ in range(MOST) if (slot := regions.take(VALUE)) is not None]
    assert len({slot.name for slot in taken}) == len(registry.names) == MOST
    assert regions.take(VALUE) is None
    taken[3].give_back()
    again = regions.take(VALUE[::-1])
    assert again is taken[3]
    np.testing.assert_array_equal(np.ndarray(VALUE.shape, np.uint8, buffer=again.memory.buf), VALUE[::-1])
    regions.close()
    assert not registry.names
    assert not any(Path("/dev/shm", slot.name).exists() for slot in taken)


def test_memory_that_is_not_there_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Slot] = []

    class Seen(Slot):
        def discard(self) -> None:
            made.append(self)
            super().discard()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(shared_memory, "Slot", Seen)
    registry = Registry()
    assert Regions(lambda: registry).take(VALUE) is None
    assert not registry.names
    assert [Path("/dev/shm", slot.name).exists() for slot in made] == [False]
