"""One real server for all contract tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.serving import TritonServer, find_tritonserver

MODEL = "dif.miniature_bilateral"


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """A Triton that serves one shipped model."""
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    with TritonServer(repository, [MODEL]) as running:
        yield running


@pytest.fixture(params=["onnx", "grpc", "grpc without shared memory", "http"])
def endpoint(request: pytest.FixtureRequest, repository: Path) -> tuple[str, str]:
    """An address of the model by every transport, and whether shared memory may be used."""
    if request.param == "onnx":
        return f"onnx:{repository / MODEL / '1' / 'model.onnx'}", "auto"
    running = request.getfixturevalue("server")
    address = running.http_url(MODEL) if request.param == "http" else running.grpc_url(MODEL)
    return address, "off" if "without" in request.param else "auto"
