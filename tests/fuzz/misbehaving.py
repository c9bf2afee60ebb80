"""What no file may do, done: it shows that the watch sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import DataError
from tests.fuzz.watched import Kind


def hang(folder: Path) -> None:
    """Never end."""
    time.sleep(3600)


def die(folder: Path) -> None:
    """End the process as a crash in C does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def grow(folder: Path) -> None:
    """Take all memory, and call it an error of the file."""
    try:
        bytearray(64 << 30)
    except MemoryError as error:
        raise DataError("too much") from error


def execute(folder: Path) -> None:
    """Start a program."""
    subprocess.run(["true"], check=True)


def write(folder: Path) -> None:
    """Write beside the test's folder."""
    Path("/tmp/discern-fuzz-must-not-be").open("w").close()
    Path("/tmp/discern-fuzz-must-not-be").unlink()


def fail(folder: Path) -> None:
    """Raise what is no error of the harness."""
    raise KeyError("x")


def when_damaged(act: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return what misbehaves on a damaged file alone."""

    def read(folder: Path) -> None:
        if (folder / "file").read_bytes() == b"damaged":
            act(folder)

    return read


KINDS = tuple(
    Kind(act.__name__, "file", lambda: [b"whole"], lambda *_: b"damaged", when_damaged(act))
    for act in (hang, die, grow, execute, write, fail)
)
