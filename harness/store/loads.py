"""The schema of load records: when one request was wanted, sent and answered, and what was wrong with the answer."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

WRONG = "answer:wrong"
"""The error of an answer that is further from the model's answer at rest than the task allows."""

LOAD_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("sample", pa.string()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("scheduled", pa.float64()),
        ("sent", pa.float64()),
        ("seconds", pa.float64()),
        ("service", pa.float64()),
        ("batch", pa.int32()),
        ("repeat", pa.int32()),
        ("rate", pa.float64()),
        ("queue", pa.float64()),
        ("compute", pa.float64()),
        ("memory", pa.int64()),
        ("machine_memory", pa.int64()),
        ("gpu_memory", pa.int64()),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One row: a request.

    Attributes:
        position: its place in its cell, from 0, repeats one after the other.
        sample: path of its first image.
        error, detail: why there is no answer, or none that is right (WRONG).
        scheduled: seconds since the load's start at which it was wanted.
        sent: the same of when it was handed to the transport; None where it never was.
        seconds: from scheduled to what came of it, an error too; None where nothing came.
        service: the same from sent.
        batch: images it held.
        repeat: which repeat of the load, from 0.
        rate: requests a second that an open loop was to send; a search of the peak has several.
        queue, compute: what Triton's statistics say of the whole repeat or step, seconds a request in its queue and
            in its three compute stages; None of other servers.
        memory: bytes resident, at the end, of the processes that answer: this one, or those of the run's own server;
            None where they are not known.
        machine_memory, gpu_memory: bytes in use on the server's machine and its GPUs, as Triton's metrics say.
        verdict: of LoadGen on the whole repeat; None where it did not drive it.
    """

    position: int
    sample: str
    error: str | None
    detail: str | None
    scheduled: float
    sent: float | None
    seconds: float | None
    service: float | None
    batch: int
    repeat: int = 0
    rate: float | None = None
    queue: float | None = None
    compute: float | None = None
    memory: int | None = None
    machine_memory: int | None = None
    gpu_memory: int | None = None
    verdict: str | None = None
