"""The states of trainings as files: tensors and plain values, written whole or not at all. Executes nothing in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.errors import CheckpointError, problem
from harness.store.files import write_atomic


def save_state(path: Path, state: Any) -> None:
    """Write tensors and plain values, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


@contextmanager
def checkpoint_state(path: Path) -> Iterator[Any]:
    """Yield what a training left in its checkpoint, to be taken up inside.

    Raises:
        CheckpointError: it can't be read, or can't be taken up.
    """
    try:
        yield torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            problem(str(path), "a checkpoint of this training", str(error)[:200], "Remove it to start anew")
        ) from error
