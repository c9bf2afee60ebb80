"""Regions of shared memory against a client that only registers them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geventhttpclient.response import HTTPParseError

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


def test_a_server_that_is_gone_is_not_asked_about_every_region() -> None:
    class Gone(Registry):
        asked = 0

        def unregister_system_shared_memory(self, name: str) -> None:
            self.asked += 1
            raise TimeoutError(name)

    registry = Gone()
    regions = Regions(lambda: registry)
    taken = [slot for _ in range(3) if (slot := regions.take(VALUE)) is not None]
    regions.close()
    assert registry.asked == 1
    assert not any(Path("/dev/shm", slot.name).exists() for slot in taken)


def test_regions_that_a_server_forgot_are_made_anew() -> None:
    registry = Registry()
    regions = Regions(lambda: registry)
    idle, used = (regions.take(VALUE) for _ in range(2))
    assert idle is not None
    assert used is not None
    idle.give_back()
    registry.names.clear()
    used.lose()
    fresh = regions.take(VALUE)
    assert fresh is not None
    assert registry.names == {fresh.name}
    used.lose()  # the other request that failed says so as well
    used.give_back()
    fresh.give_back()
    assert regions.take(VALUE) is fresh
    assert not any(Path("/dev/shm", slot.name).exists() for slot in (idle, used))
    regions.close()
    assert not registry.names


def test_a_server_that_breaks_off_gets_the_input_in_the_message() -> None:
    class Broken(Registry):
        def register_system_shared_memory(self, name: str, key: str, size: int) -> None:
            self.names.add(name)
            raise HTTPParseError("Incomplete response.")

    registry = Broken()
    assert Regions(lambda: registry).take(VALUE) is None
    (name,) = registry.names
    assert not Path("/dev/shm", name).exists()


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
