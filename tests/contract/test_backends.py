"""What every backend does alike, in process and on a real Triton."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from harness.backends import Backend, EndpointOptions, open_backend
from harness.errors import EndpointRefused, EndpointTimeout, EndpointUnavailable
from harness.repository import load_entry
from harness.serving import TritonServer
from tests.contract.conftest import MODEL

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)


@pytest.fixture
def backend(endpoint: tuple[str, str]) -> Iterator[Backend]:
    address, shared = endpoint
    opened = open_backend(address, EndpointOptions.model_validate({"retries": 0, "shared_memory": shared}))
    yield opened
    opened.close()
    opened.close()


@pytest.fixture(scope="module")
def reference(repository: Path) -> np.ndarray:
    opened = open_backend(f"onnx:{repository / MODEL / '1' / 'model.onnx'}", EndpointOptions())
    return opened.infer({"image": IMAGES})["score"]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_answers_are_those_of_the_graph(backend: Backend, reference: np.ndarray, batch: int) -> None:
    answered = backend.infer({"image": IMAGES[:batch]})["score"]
    np.testing.assert_allclose(answered, reference[:batch], atol=1e-6)


def test_small_and_large_requests_may_alternate(backend: Backend, reference: np.ndarray) -> None:
    for batch in (8, 1, 8, 1):
        np.testing.assert_allclose(backend.infer({"image": IMAGES[:batch]})["score"], reference[:batch], atol=1e-6)


def test_threads_may_ask_at_once(backend: Backend, reference: np.ndarray) -> None:
    def ask(index: int) -> np.ndarray:
        return backend.infer({"image": IMAGES[index : index + 2]})["score"]

    with ThreadPoolExecutor(4) as pool:
        for index, answered in zip([0, 2, 4, 6] * 4, pool.map(ask, [0, 2, 4, 6] * 4), strict=True):
            np.testing.assert_allclose(answered, reference[index : index + 2], atol=1e-6)


def test_an_endpoint_describes_itself(backend: Backend, repository: Path) -> None:
    info, entry = backend.info(), load_entry(repository / MODEL)
    assert info.card == entry.card
    assert info.weights_sha256 == entry.weights_sha256
    assert info.inputs["image"] == ("UINT8", (-1, 128, 128, 3))
    assert info.platform


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": IMAGES[:, :64]},
        {"image": IMAGES.astype(np.float32)},
        {"picture": IMAGES},
    ],
    ids=["shape", "type", "name"],
)
def test_a_wrong_request_is_refused(backend: Backend, wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises(EndpointRefused, match="expected"):
        backend.infer(wrong)


def test_a_batch_above_the_largest_is_refused_or_answered(backend: Backend) -> None:
    many = np.repeat(IMAGES, 5, axis=0)
    try:
        assert len(backend.infer({"image": many})["score"]) == 40
    except EndpointRefused as error:
        assert "40" in str(error) or "batch" in str(error)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_nothing_there_says_how_to_start_it(scheme: str) -> None:
    opened = open_backend(f"{scheme}://127.0.0.1:1/model", EndpointOptions(retries=0, timeout_s=2))
    with pytest.raises(EndpointUnavailable, match="harness serve"):
        opened.infer({"image": IMAGES})
    opened.close()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_an_unknown_model_is_refused(scheme: str, server: TritonServer) -> None:
    address = server.grpc_url("dif.zork") if scheme == "grpc" else server.http_url("dif.zork")
    opened = open_backend(address, EndpointOptions(retries=0))
    with pytest.raises(EndpointRefused, match=r"dif\.zork"):
        opened.info()
    opened.close()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_late_answers_are_timeouts(scheme: str, server: TritonServer) -> None:
    address = server.grpc_url(MODEL) if scheme == "grpc" else server.http_url(MODEL)
    opened = open_backend(address, EndpointOptions(retries=0, timeout_s=0.001))
    with pytest.raises(EndpointTimeout, match="timeout_s"):
        opened.infer({"image": IMAGES})
    opened.close()


def test_no_shared_memory_is_left_behind(server: TritonServer) -> None:
    opened = open_backend(server.grpc_url(MODEL), EndpointOptions())
    opened.infer({"image": IMAGES})
    regions = f"discern-{os.getpid()}-*"
    assert list(Path("/dev/shm").glob(regions))
    opened.close()
    assert not list(Path("/dev/shm").glob(regions))
