"""A real MLServer from PyPI, in an environment of its own: a KServe v2 server that nobody here wrote.

It installs packages, so it runs only where DISCERN_SERVERS=1 is set: CI has no time for that.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.backends import EndpointOptions, open_backend
from harness.backends.opening import list_models
from harness.errors import EndpointRefused
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.probe import Asked, probe
from harness.probe.suite import suite_text
from harness.serving.server import free_ports
from harness.spec.load import load_suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("DISCERN_SERVERS") != "1", reason="DISCERN_SERVERS=1 is not set"),
]

ENTRY = "cnnspot.mini_gan"

RUNTIME = """
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse


class Onnx(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        feeds = {item.name: NumpyCodec.decode_input(item) for item in payload.inputs}
        try:
            values = self.session.run(None, feeds)
        except Exception as error:
            raise InferenceError(str(error)) from error
        names = [item.name for item in self.session.get_outputs()]
        outputs = [NumpyCodec.encode_output(*pair) for pair in zip(names, values)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""


@dataclass(frozen=True)
class Running:
    http: str
    grpc: str


def install() -> Path:
    """Return the environment's folder of commands; made once, outside of the repository."""
    home = Path(tempfile.gettempdir()) / "discern-mlserver"
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    done = home / "installed"
    if not done.is_file():
        for words in (
            ["venv", "--clear", "--python", "3.11", str(home / "env")],
            ["pip", "install", "--python", str(home / "env" / "bin" / "python"), "mlserver", "onnxruntime"],
        ):
            ended = subprocess.run([uv, *words], capture_output=True, text=True, timeout=600)
            if ended.returncode:
                pytest.skip(f"MLServer can't be installed: {ended.stderr[-200:]}")
        done.touch()
    return home / "env" / "bin"


@pytest.fixture(scope="module")
def mlserver(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    commands, folder = install(), tmp_path_factory.mktemp("mlserver")
    http, grpc, metrics = free_ports("127.0.0.1", 3)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    (folder / "runtime.py").write_text(RUNTIME)
    model = {
        "name": ENTRY,
        "implementation": "runtime.Onnx",
        "parameters": {"uri": str(repository / ENTRY / "1" / "model.onnx")},
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 128, 128, 3]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    log = folder / "log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [commands / "mlserver", "start", str(folder)], cwd=folder, stdout=lines, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 60
        while not ready(http):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"MLServer does not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield Running(f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}")
    finally:
        process.terminate()
        process.wait(20)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{ENTRY}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, mlserver: Running) -> str:
    return str(getattr(mlserver, request.param))


def test_it_answers_as_the_graph_and_carries_no_card(url: str, repository: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
    here = open_backend(f"onnx:{repository / ENTRY / '1' / 'model.onnx'}", EndpointOptions())
    there = open_backend(f"{url}/{ENTRY}", EndpointOptions(retries=0))
    info = there.info()
    assert info.card is None
    assert info.max_batch is None
    assert info.platform.startswith("mlserver 1.")
    assert info.inputs == {"image": ("UINT8", (-1, 128, 128, 3))}
    for _ in range(2):
        np.testing.assert_allclose(
            there.infer({"image": images})["score"], here.infer({"image": images})["score"], rtol=1e-5
        )
    with pytest.raises(EndpointRefused):
        there.infer({"image": images[:, :64]})
    there.close()


def test_its_models_are_listed_over_grpc_alone(mlserver: Running) -> None:
    assert list_models(mlserver.grpc, EndpointOptions()) == (ENTRY,)
    with pytest.raises(EndpointRefused):  # it wants a body, which tritonclient does not send
        list_models(mlserver.http, EndpointOptions())


def test_it_is_learned_and_a_suite_written(url: str, tmp_path: Path) -> None:
    found = probe(Asked(f"{url}/{ENTRY}", EndpointOptions(), most=8, requests=5), Silent())
    assert found.preprocess == Preprocess(resize=128, crop=128)
    assert found.alive
    assert {item.asked: item.reason for item in found.reactions}["another model name"] == "refused"
    written = tmp_path / "suite.yaml"
    written.write_text(suite_text(found))
    assert load_suite(written).models[0].endpoint == f"{url}/{ENTRY}"
