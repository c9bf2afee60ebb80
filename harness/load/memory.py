"""How much memory answering takes: of this process, of a server that the run started, or as Triton's metrics tell."""

from __future__ import annotations

import os
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from harness.models import Model

LONGEST_S, MOST = 5.0, 1 << 22
"""Seconds and bytes that a page of metrics may take."""

_GAUGE = re.compile(r"^(nv_cpu_memory_used_bytes|nv_gpu_memory_used_bytes)(?:\{.*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use; None where nothing tells.

    Attributes:
        process: resident of the processes that answer; a page that several share counts in each.
        machine: of the server's machine, whoever takes them.
        gpu: the same of its GPUs, together.
    """

    process: int | None = None
    machine: int | None = None
    gpu: int | None = None


def read_memory(model: Model) -> Memory:
    """Return what is in use now."""
    if model.local:
        return Memory(process=resident(os.getpid()))
    server = model.server
    pid = server.pid if server is not None else None
    address = server.metrics_url if server is not None else model.backend.options.metrics
    used = read_metrics(address) if address else {}
    return Memory(
        process=None if pid is None else _of_tree(pid),
        machine=used.get("nv_cpu_memory_used_bytes"),
        gpu=used.get("nv_gpu_memory_used_bytes"),
    )


def read_metrics(address: str) -> dict[str, int]:
    """Return Triton's gauges of memory, each summed over its labels; nothing where there is no such page."""
    try:
        with urllib.request.urlopen(address, timeout=LONGEST_S) as answer:
            page = answer.read(MOST).decode("utf-8", "replace")
        used: dict[str, int] = defaultdict(int)
        for name, value in _GAUGE.findall(page):
            used[name] += int(float(value))
    except (OSError, HTTPException, ValueError, OverflowError):
        return {}
    return used


def resident(pid: int) -> int | None:
    """Return a process's resident bytes; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)


def _of_tree(pid: int) -> int | None:
    """Return the same of a process and its descendants: Triton's Python backend answers in processes of its own."""
    children = defaultdict(list)
    for child, parent in _parents():
        children[parent].append(child)
    open_, known = [pid], []
    while open_:
        known.append(process := open_.pop())
        open_ += children[process]
    sizes = [size for process in known if (size := resident(process)) is not None]
    return sum(sizes) if sizes else None


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        yield int(path.parent.name), int(told[1])
