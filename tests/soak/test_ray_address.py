"""A Ray cluster that was there before the run, reached by its address: the report is the one of this process."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.events import Silent
from harness.run import Asked, run
from harness.store.cells import CellStore
from tests.clusters import check_records, write_suite
from tests.e2e.commands import contents, folder_of, harness

pytest.importorskip("ray", reason="the extra `ray` is not installed")

IMAGES = 24


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head on loopback, with two cores, that lets in who has its token."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with ExitStack() as stack:
        ports = []
        for _ in range(2):
            found = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(found.getsockname()[1])
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={ports[0]}"]
    command += [f"--ray-client-server-port={ports[1]}", "--num-cpus=2", "--include-dashboard=false"]
    command += [f"--temp-dir={tmp_path.parent / 'r'}", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while True:
            assert head.poll() is None
            assert time.monotonic() < until
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", ports[1])) == 0:
                    break
            time.sleep(0.5)
        yield f"ray://127.0.0.1:{ports[1]}"
    finally:
        head.terminate()
        head.wait(60)


def test_a_cluster_at_an_address_leaves_the_same_report(address: str, repository: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, repository, IMAGES)
    here = contents(run(Asked(suite, out=tmp_path / "here"), Silent()).folder)
    there = folder_of(harness("run", suite, "--out", tmp_path / "there", "--engine", address))
    assert contents(there) == here
    check_records(CellStore(tmp_path / "there" / "cells"), there, IMAGES)
