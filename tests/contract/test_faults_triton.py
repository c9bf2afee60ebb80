"""Faults of a real server in the middle of a run: killed and started again, a model unloaded and loaded."""

from pathlib import Path

import pytest

from harness.errors import EndpointUnavailable
from harness.events import Silent
from harness.run import run
from harness.serving import TritonServer
from harness.store.runs import RunStore
from tests.contract.conftest import MODEL
from tests.contract.striking import Striking, check_whole, control, kill, run_through, write_images, write_suite

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def test_a_server_killed_and_started_again_costs_no_answer(server: TritonServer, images: Path, tmp_path: Path) -> None:
    def start_again() -> None:
        server.stop()
        server.start()

    patient = write_suite(tmp_path, images, server.grpc_url(MODEL), retries=40)
    check_whole(run_through(patient, lambda: kill(server), start_again), patient)


def test_a_model_unloaded_ends_the_run_which_goes_on_when_it_is_loaded(
    server: TritonServer, images: Path, tmp_path: Path
) -> None:
    impatient = write_suite(tmp_path, images, server.http_url(MODEL))
    try:
        with pytest.raises(EndpointUnavailable, match=r"no available versions.*run the same command again") as caught:
            run(impatient, Striking(lambda: control(server, "unload")))
        assert caught.value.exit_code == 3
    finally:
        control(server, "load")
    (first,) = RunStore(impatient.out).all()
    assert first.status == "failed"
    finished = run(impatient, Silent())
    assert finished.info.id == first.id
    check_whole(finished, impatient)
