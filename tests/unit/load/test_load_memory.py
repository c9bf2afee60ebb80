"""Memory as metrics tell it, from pages that no server on this machine writes: of several GPUs, and broken ones."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from harness.backends import EndpointOptions
from harness.load.memory import read_metrics, resident

PAGES = {
    "/two": b"# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes\n"
    b'nv_gpu_memory_used_bytes{gpu_uuid="GPU-a"} 3000000000.000000\n'
    b'nv_gpu_memory_used_bytes{gpu_uuid="GPU-b"} 2.5e9\n'
    b'nv_gpu_memory_total_bytes{gpu_uuid="GPU-a"} 9e9\n'
    b"nv_cpu_memory_used_bytes 4096\n",
    "/others": b"process_resident_memory_bytes 5\n",
    "/broken": b"nv_cpu_memory_used_bytes many\n",
    "/endless": b"nv_cpu_memory_used_bytes inf\n",
    "/bytes": b"\xff\xfe\x00",
}


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PAGES[self.path])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_gauges_of_several_gpus_add_up(address: str) -> None:
    told = read_metrics(f"{address}/two")
    assert told == {"nv_gpu_memory_used_bytes": 5_500_000_000, "nv_cpu_memory_used_bytes": 4096}


@pytest.mark.parametrize("page", ["others", "broken", "endless", "bytes"])
def test_a_page_without_them_tells_nothing(address: str, page: str) -> None:
    assert read_metrics(f"{address}/{page}") == {}


@pytest.mark.parametrize("metrics", ["file:///etc/passwd", "/etc/passwd", "ftp://h/metrics"])
def test_metrics_are_at_a_web_address(metrics: str) -> None:
    with pytest.raises(ValidationError, match="metrics"):
        EndpointOptions(metrics=metrics)


def test_a_process_that_is_gone_has_no_memory() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert resident(ended.pid) is None
