"""The schema of records: what one model said of one image in one cell, or why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

RETRIED = "endpoint:"
"""Failures whose reason starts so are asked again when the run goes on; all others are final."""

SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("sample", pa.string()),
        ("source", pa.string()),
        ("label", pa.int8()),
        ("target", pa.int32()),
        ("scores", pa.list_(pa.float32())),
        ("error", pa.string()),
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Record:
    """One row.

    Attributes:
        position: the image's place in its cell, from 0.
        sample: its path in the data set.
        source: its cluster in every interval.
        label: 0 real, 1 fake.
        scores: what the model answered, as it answered (one value per head); None for a failure.
        error: a stable reason (``image:truncated``, ``endpoint:timeout``); None for an answer.
        detail: the failure's message.
        target: index of its class; None where it has none.
    """

    position: int
    sample: str
    source: str
    label: int
    scores: Sequence[float] | NDArray[np.float32] | None
    error: str | None = None
    detail: str | None = None
    target: int | None = None
