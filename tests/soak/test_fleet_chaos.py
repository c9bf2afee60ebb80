"""A fleet whose servers are killed and started again, one and both, for as long as a run lasts."""

import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.events import Silent
from harness.run import Asked, run
from harness.serving import TritonServer, find_tritonserver
from harness.store.cells import CellStore
from tests.noise import write_noise

MODEL = "cnnspot.mini_gan"
PER_CLASS = 1000

SUITE = """\
name: chaos
repository: {repository}
data: {{d: {{layout: real_fake, root: "{root}"}}}}
models:
  - name: {model}
    endpoint: [{endpoints}]
    options: {{batch: 2, concurrency: 2, timeout_s: 5, retries: 10, backoff_s: 0.5}}
tasks:
  - kind: detection
    name: t
    data: d
    audit: false
    degradations:
      [none, jpeg quality=65, jpeg quality=90, blur sigma=1, blur sigma=3, downsample size=64]
report: {{mistakes: 0}}
resamples: 100
"""


def test_servers_come_and_go_and_every_answer_is_there_once(repository: Path, tmp_path: Path) -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    write_noise(tmp_path / "images", PER_CLASS)
    draw, ended, killed = random.Random(0), threading.Event(), [0, 0]
    servers = [TritonServer(repository, [MODEL], threads=1) for _ in range(2)]
    urls = [server.grpc_url(MODEL) for server in servers]

    def chaos() -> None:
        while not ended.wait(draw.uniform(0.5, 3)):
            for place in draw.choice([[0], [1], [0, 1]]):
                if (pid := servers[place].pid) is not None:
                    os.kill(pid, signal.SIGKILL)
                    killed[place] += 1
            for place, server in enumerate(servers):
                if not server.running:
                    server.stop()
                    kinds = ("http_port", "grpc_port", "metrics_port")
                    ports = {kind: getattr(server, kind) for kind in kinds}
                    servers[place] = TritonServer(repository, [MODEL], threads=1, **ports)
                    servers[place].start()

    suite = tmp_path / "suite.yaml"
    said = SUITE.format(repository=repository, root=tmp_path / "images", model=MODEL, endpoints=", ".join(urls))
    suite.write_text(said, encoding="utf-8")
    for server in servers:
        server.start()
    thread = threading.Thread(target=chaos)
    thread.start()
    try:
        finished = run(Asked(suite, out=tmp_path / "reports"), Silent())
    finally:
        ended.set()
        thread.join()
        for server in servers:
            server.stop()
    assert min(killed) >= 2, killed
    assert finished.info.verdict == "VALID"
    rows = Counter(
        (path.parent.name, row["sample"], row["error"])
        for path in CellStore(tmp_path / "reports" / "cells").parts()
        for row in pq.read_table(path).to_pylist()
    )
    assert set(rows.values()) == {1}
    assert len(rows) == 6 * 2 * PER_CLASS
    assert {error for _, _, error in rows} == {None}
