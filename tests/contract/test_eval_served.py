"""harness eval against a real Triton: a model that is what it says it is, and one whose weights are others."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.data.miniature.photographs import PHOTOGRAPHS, crops
from harness.serving import TritonServer, find_tritonserver

ENTRY, CHANGED = "cnnspot.mini_gan", "changed"

SUITE = """\
name: beside
repository: {repository}
data: {{d: {{layout: real_fake, root: images}}}}
models: [{entry}]
resamples: 200
tasks: [{{kind: detection, data: d, trained_on: gan, audit: false}}]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A crop of each of ten photographs as they are, and mirrored ones that stand for the fakes of two generators."""
    folder: Path = tmp_path_factory.mktemp("beside")
    for index, crop in enumerate(next(crops(item)) for item in PHOTOGRAPHS[:10]):
        for kind, pixels in (("real", crop.pixels), ("fake", crop.pixels[:, ::-1])):
            place = folder / "images" / ("one" if index % 2 else "two") / kind
            place.mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(place / f"{index}.png")
    (folder / "suite.yaml").write_text(SUITE.format(repository=repository, entry=ENTRY))
    return folder / "suite.yaml"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[TritonServer]:
    """A Triton with a shipped entry, and with the same under another name, its card unchanged and its weights not."""
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    folder: Path = tmp_path_factory.mktemp("served")
    for name in (ENTRY, CHANGED):
        shutil.copytree(repository / ENTRY, folder / name)
    model = onnx.load(folder / CHANGED / "1" / "model.onnx")
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weights = onnx.numpy_helper.to_array(tensor)
            noise = random.normal(0, 0.2 * weights.std(), weights.shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights + noise, tensor.name))
    onnx.save(model, folder / CHANGED / "1" / "model.onnx")
    config = folder / CHANGED / "config.pbtxt"
    config.write_text(config.read_text().replace(f'name: "{ENTRY}"', f'name: "{CHANGED}"', 1))
    with TritonServer(folder, threads=1) as running:
        yield running


def evaluated(url: str, suite: Path) -> Result:
    return CliRunner().invoke(app, ["eval", url, "--suite", str(suite), "--out", str(suite.parent / "reports")])


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_model_served_as_it_is_holds(protocol: str, served: TritonServer, suite: Path) -> None:
    said = evaluated(served.grpc_url(ENTRY) if protocol == "grpc" else served.http_url(ENTRY), suite)
    assert said.exit_code == 0, said.output
    assert f"{ENTRY}.endpoint beside {ENTRY}" in said.output
    assert "0 of 20 decisions differ" in said.output


def test_other_weights_behind_the_same_card_are_found_and_told_of(served: TritonServer, suite: Path) -> None:
    said = evaluated(served.grpc_url(CHANGED), suite)
    assert said.exit_code == 1, said.output
    decisions = next(line for line in said.output.splitlines() if line.startswith("same decisions?"))
    assert decisions.split()[2] == "no"
    assert "0 of 20 decisions differ" not in decisions
    assert "; most of " in decisions
