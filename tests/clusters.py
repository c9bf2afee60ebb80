"""A small suite over noise of its own, run on a real Ray cluster in a process whose workers can be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.store.cells import CellStore
from tests.noise import write_noise

SUITE = """\
name: sharded
seed: 3
repository: {repository}
data: {{d: {{layout: real_fake, root: images}}}}
models: [dif.miniature]
resamples: 100
tasks:
  - kind: detection
    name: sharded
    data: d
    degradations: [none, {{jpeg: {{quality: 65}}}}]
    audit: false
"""


def write_suite(folder: Path, repository: Path, images: int, sets: int = 1) -> Path:
    """Write a suite and so many images of either kind in each of some sets."""
    write_noise(folder / "images", images, sets=sets)
    path = folder / "sharded.yaml"
    path.write_text(SUITE.format(repository=repository), encoding="utf-8")
    return path


@contextmanager
def ray_run(suite: Path, out: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a run on Ray; whatever it has started ends with it."""
    command = [sys.executable, "-m", "harness", "run", str(suite), "--out", str(out), "--engine", "ray", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that answer a run's shards."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.cmdline() and child.cmdline()[0].startswith("ray::Worker"):
                found.append(child)
        except psutil.Error:
            continue
    return found


def kill(worker: psutil.Process) -> bool:
    """Kill a worker; return whether it was there."""
    try:
        worker.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def check_records(store: CellStore, run: Path, images: int) -> None:
    """Hold that each cell of a run has one record of each image."""
    cells = json.loads((run / "run.json").read_text())["cells"]
    assert cells
    for key in cells.values():
        assert store.read(key)["position"].to_pylist() == list(range(images))
