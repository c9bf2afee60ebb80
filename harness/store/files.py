"""Files that are either whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreError, problem
from harness.held import held


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader never sees half of it; raises StoreError as :func:`writing` does."""
    with writing(path) as part:
        part.write_bytes(content)


@contextmanager
def writing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a place to write at, which takes the path's place in one step when nothing has failed.

    Args:
        path: where it goes; its folder is made. A file there is replaced, a folder stays: somebody was faster.
        folder: whether it is one.

    Yields:
        A hidden sibling: an empty file or folder.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path, folder=folder) as part:
            yield part
            try:
                part.replace(path)
            except OSError:
                if not (folder and path.is_dir()):
                    raise
    except OSError as error:
        got = error.strerror or str(error)
        do = "Free space or choose --out DIR"
        raise StoreError(problem(str(path), "a place that can be written", got, do)) from error
