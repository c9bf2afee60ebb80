"""A run that something happens to in its middle, against a real server; and what does it."""

import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness.events import Silent
from harness.run import Asked, Finished, run
from harness.serving import TritonServer
from harness.store.runs import RunStore
from tests.contract.conftest import MODEL
from tests.noise import write_noise

EACH = 40
"""Images of each class."""


def write_images(place: Path) -> Path:
    """Write the images that are asked about."""
    return write_noise(place, EACH)


def write_suite(folder: Path, images: Path, url: str, **options: Any) -> Asked:
    """Write a suite that asks an endpoint about all images, one at a time."""
    usual = {"batch": 1, "retries": 0, "backoff_s": 0.05, "timeout_s": 10}
    said = {
        "name": "faults",
        "resamples": 100,
        "data": {"d": {"layout": "real_fake", "root": str(images)}},
        "models": [{"name": MODEL, "endpoint": url, "options": {**usual, **options}}],
        "tasks": [{"kind": "detection", "name": "t", "data": "d", "audit": False}],
        "report": {"mistakes": 0},
    }
    path = folder / "faults.yaml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return Asked(path, out=folder / "out")


def control(server: TritonServer, word: str) -> None:
    url = f"http://{server.host}:{server.http_port}/v2/repository/models/{MODEL}/{word}"
    with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="POST"), timeout=60):
        pass


def kill(server: TritonServer) -> None:
    """Kill a server and its children, as a machine that loses its power does."""
    assert server._process is not None
    for process in [*psutil.Process(server._process.pid).children(recursive=True), psutil.Process(server._process.pid)]:
        process.kill()
    server._process.wait()


def check_whole(finished: Finished, asked: Asked) -> None:
    """Every image has one answer, and the run is believed."""
    assert finished.reasons == ()
    cells = RunStore(asked.out).cells
    records = [record for key in set(finished.info.cells.values()) for record in cells.read(key).to_pylist()]
    assert len({record["sample"] for record in records}) == len(records) == 2 * EACH
    assert not any(record["error"] for record in records)


class Striking(Silent):
    """Events that strike once, when so many answers have come."""

    def __init__(self, strike: Callable[[], object], after: int = 10) -> None:
        self.strike, self.after, self.struck = strike, after, threading.Event()

    def advance(self, done: int, total: int, extra: str = "") -> None:
        if not self.struck.is_set() and self.after <= done < total:
            self.strike()
            self.struck.set()


def run_through(asked: Asked, strike: Callable[[], object], mend: Callable[[], object]) -> Finished:
    """Run a suite, strike in the middle of it, and mend what was struck while it goes on."""
    events = Striking(strike)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(run, asked, events)
        assert events.struck.wait(30), going.exception(0)
        mend()  # in the main thread: a server goes down with the thread that started it
        return going.result(60)
