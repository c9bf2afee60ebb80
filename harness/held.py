"""Files and folders that are one process's alone while it lives, held by a lock; those of dead ones are swept away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HELD = ".held"
"""How names of what is held end."""


@contextmanager
def held(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make a hidden sibling of a path and hold it; what is still there afterwards is removed.

    Args:
        path: what it stands beside.
        folder: whether it is one, or an empty file.

    Yields:
        Its path, ``.NAME.xxxxxxxx.held``.

    Raises:
        OSError: it can't be made.
    """

    def make() -> Path:
        made = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{HELD}")
        if folder:
            made.mkdir()
        else:
            made.touch(exist_ok=False)
        return made

    yield from _hold(make)


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Make a folder for temporary files, hold it, and sweep away those of this prefix that nobody holds.

    Args:
        prefix: its name begins so.

    Yields:
        Its path; it is removed afterwards.

    Raises:
        OSError: it can't be made.
    """
    sweep(Path(tempfile.gettempdir()), f"{prefix}*")
    yield from _hold(lambda: Path(tempfile.mkdtemp(prefix=prefix, suffix=HELD)))


def _hold(make: Callable[[], Path]) -> Iterator[Path]:
    """Yield what ``make`` makes, held until the caller is done or this process ends, however it does."""
    made, lock = _locked(make)
    try:
        yield made
    finally:
        _remove(made)
        os.close(lock)


def _locked(make: Callable[[], Path]) -> tuple[Path, int]:
    while True:
        made = make()
        with suppress(FileNotFoundError):  # swept between two steps, as if its maker had died there
            lock = os.open(made, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: nothing is swept there
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return made, lock
            os.close(lock)


def sweep(folder: Path, pattern: str) -> None:
    """Remove what nobody holds any more; what can't be told or removed stays.

    Args:
        folder: where it lies.
        pattern: of names, without their end; after ``**/`` those in all folders below too.
    """
    for path in list(folder.glob(pattern + HELD)):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
