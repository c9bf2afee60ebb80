"""Arrays from files that may be anybody's: numbers and text within a bound, or ValueError. Executes nothing in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 30
"""Most that the arrays of one archive may take, unpacked."""


def read_npz(content: bytes, most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of a .npz file, by name.

    Args:
        content: of the file.
        most: bytes that they may take in all, of which none is unpacked where they would take more.

    Raises:
        ValueError: no such archive, damaged, larger than ``most``, or with arrays of objects.
    """
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            size = sum(item.file_size for item in archive.infolist())
            if size > most:
                raise ValueError(f"{size:,} bytes unpacked")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # headers are parsed as Python, members are unpacked: each fails in ways of its own
        raise ValueError(str(error) or type(error).__name__) from error


def read_npy(path: Path, mapped: bool = False) -> NDArray[Any]:
    """Return the array in a .npy file; ``mapped`` leaves it on disk.

    Raises:
        ValueError: no such array, or one of objects.
    """
    try:
        found: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # as above
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(found, np.ndarray):
        raise ValueError("an archive of arrays")
    return found
