"""Paths that data names: they stay below a folder as they are written, and wherever links lead. Lists nothing."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath


def stays_inside(path: str) -> bool:
    """Whether a path, as it is written, stays below the folder that it starts from."""
    pure = PurePosixPath(path)
    return not (pure.is_absolute() or ".." in pure.parts or "\0" in path)


def read_inside(root: Path, path: str) -> bytes:
    """Return the bytes of a regular file below a folder, wherever links lead.

    Args:
        root: the folder, resolved.
        path: from there.

    Raises:
        OSError: it is gone, something else than a file, or lies outside.
    """
    try:
        place = (root / path).resolve()
    except (RuntimeError, ValueError) as error:  # links in a circle; a NUL
        raise OSError(str(error)) from error
    if not place.is_relative_to(root):
        raise OSError("outside the data root")
    if not stat.S_ISREG(place.stat().st_mode):  # reading a pipe or a device may never end
        raise OSError("no regular file")
    return place.read_bytes()
