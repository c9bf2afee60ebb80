"""harness probe against a real Triton: by either protocol, with and without a model's name, and its complaints."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.backends import EndpointOptions
from harness.backends.opening import list_models
from harness.cli import app
from harness.errors import EndpointRefused, EndpointUnavailable, SuiteError
from harness.events import Silent
from harness.probe import Asked, probe
from harness.serving import TritonServer
from harness.spec.load import load_suite
from tests.contract.conftest import MODEL


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_without_a_model_lists_what_it_has(protocol: str, server: TritonServer) -> None:
    address = server.grpc_url("") if protocol == "grpc" else server.http_url("")
    assert MODEL in (list_models(address, EndpointOptions()) or ())
    assert list_models(address + MODEL, EndpointOptions()) is None


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_served_model_is_learned(protocol: str, server: TritonServer) -> None:
    url = server.grpc_url(MODEL) if protocol == "grpc" else server.http_url(MODEL)
    found = probe(Asked(url, EndpointOptions(), most=64, requests=5), Silent())
    assert found.info.max_batch == 32
    assert (found.sizes.largest, found.sizes.refused) == (32, (33, "refused"))
    assert found.contradictions == ()
    assert found.repeats.flips == 0
    assert found.alive
    refused = {item.asked: item.reason for item in found.reactions}
    assert refused.pop("no images (batch 0)") in ("refused", "bad_answer", "answered")
    assert set(refused.values()) == {"refused"}
    assert "another model name" in refused


def test_the_command_prints_a_page_and_writes_a_suite(server: TritonServer, tmp_path: Path) -> None:
    url, suite = server.grpc_url(MODEL), tmp_path / "suite.yaml"
    said = CliRunner().invoke(app, ["probe", url, "--write", str(suite), "--max-batch", "4", "--requests", "3"])
    assert said.exit_code == 0, said.output
    assert "VALID: it answers" in said.output
    assert load_suite(suite).models[0].endpoint == url


def test_names_that_mean_nothing_are_refused(server: TritonServer) -> None:
    with pytest.raises(EndpointRefused, match="zork"):
        probe(Asked(server.grpc_url("zork"), EndpointOptions()), Silent())
    with pytest.raises(SuiteError, match="HOST:PORT"):
        list_models("grpc://nowhere", EndpointOptions())
    with pytest.raises(SuiteError, match="known scheme"):
        list_models("grcp://127.0.0.1:1", EndpointOptions())


def test_nothing_there_is_unavailable() -> None:
    with pytest.raises(EndpointUnavailable):
        list_models("grpc://127.0.0.1:1", EndpointOptions(timeout_s=2))
