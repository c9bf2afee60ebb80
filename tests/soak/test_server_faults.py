"""A real server killed, unloaded and frozen again and again, while the command line asks it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.serving import TritonServer, find_tritonserver
from tests.contract.conftest import MODEL
from tests.contract.striking import check_whole, control, kill, run_through, write_images, write_suite
from tests.e2e.commands import contents, folder_of, harness

pytestmark = pytest.mark.triton

KILLS = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def server(repository: Path) -> Iterator[TritonServer]:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    with TritonServer(repository, [MODEL]) as running:
        yield running


def test_a_model_unloaded_and_loaded_at_once_costs_no_answer(
    server: TritonServer, images: Path, tmp_path: Path
) -> None:
    patient = write_suite(tmp_path, images, server.grpc_url(MODEL), retries=40)
    check_whole(run_through(patient, lambda: control(server, "unload"), lambda: control(server, "load")), patient)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_frozen_server_is_waited_for(scheme: str, server: TritonServer, images: Path, tmp_path: Path) -> None:
    pid = server.pid
    assert pid is not None

    def thaw() -> None:
        time.sleep(0.8)
        os.kill(pid, signal.SIGCONT)

    patient = write_suite(
        tmp_path,
        images,
        server.grpc_url(MODEL) if scheme == "grpc" else server.http_url(MODEL),
        timeout_s=0.5,
        retries=40,
    )
    try:
        check_whole(run_through(patient, lambda: os.kill(pid, signal.SIGSTOP), thaw), patient)
    finally:
        os.kill(pid, signal.SIGCONT)


def asked_so_far(server: TritonServer) -> int:
    """Return how many requests a server has answered."""
    url = f"http://{server.host}:{server.http_port}/v2/models/{MODEL}/stats"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(json.load(answer)["model_stats"][0]["inference_stats"]["success"]["count"])


def test_a_server_killed_again_and_again_changes_nothing(server: TritonServer, images: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = write_suite(tmp_path / "whole", images, server.grpc_url(MODEL))
    expected = contents(folder_of(harness("run", whole.suite, "--out", whole.out)))
    asked = write_suite(tmp_path, images, server.grpc_url(MODEL))
    command = [sys.executable, "-m", "harness", "run", str(asked.suite), "--out", str(asked.out)]
    for turn in range(KILLS):
        before = asked_so_far(server)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as going:
            while asked_so_far(server) < before + 2 + turn and going.poll() is None:
                time.sleep(0.005)
            kill(server)
            _, complained = going.communicate(timeout=120)
        assert going.returncode == 3, complained
        assert "Traceback" not in complained
        assert "run the same command again" in complained
        server.stop()
        server.start()
    assert contents(folder_of(harness("run", asked.suite, "--out", asked.out))) == expected
    assert len(list((asked.out / "runs").iterdir())) == 1
