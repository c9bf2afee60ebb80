"""Grad-CAM in ONNX against torch on the same layer, against finite differences, and as an entry of a repository."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from typer.testing import CliRunner

from export import catalog
from export.catalog import build, export_model
from export.classifiers import ARCHITECTURES, float_network
from export.differences import TorchCam
from export.gradcam import WEIGHTS, gradcam_graph
from export.gradcam_check import check_gradcam
from export.onnx import write_onnx
from export.parity import probe_inputs
from export.triton import render_config, verify_lock
from harness.backends import open_backend
from harness.backends.base import EndpointOptions
from harness.card import Card
from harness.cli import app
from harness.errors import CardError, CheckpointError, ParityError
from harness.models import expand
from harness.repository import load_entry
from harness.spec.suite import ModelSpec

Array = NDArray[Any]

DETECTOR = "cnnspot.mini_gan"


def answer(model: onnx.ModelProto | Path, feed: Mapping[str, Array]) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, dict(feed)), strict=True))


@pytest.fixture(scope="module")
def shipped() -> Path:
    return Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def repository(shipped: Path, tmp_path: Path) -> Path:
    """A repository of one detector."""
    shutil.copytree(shipped / DETECTOR, tmp_path / "repository" / DETECTOR)
    return tmp_path / "repository"


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_tritonserver", lambda: None)
    monkeypatch.setattr(catalog, "GRADCAM_PROBES", 2)


def test_map_is_torchs(tmp_path: Path) -> None:
    network = float_network(ARCHITECTURES["squeezenet1_1"], "seeded:0")
    classes = tuple(f"class {index}" for index in range(1000))
    card = Card(name="made.up", task="classification", output="logits", classes=classes)
    images = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    images[1:, :, 20:50, 30:60] = 1
    write_onnx(network, torch.from_numpy(images[:2]), tmp_path / "model.onnx", card)
    model = onnx.load(tmp_path / "model.onnx")
    fires = [node.output[0] for node in model.graph.node if node.op_type == "Concat"]
    target = np.array([[7], [999], [0]])
    for layer, part in (("last", "body.classifier.2"), (fires[4], "body.features.9")):
        found = answer(gradcam_graph(model, card, layer), {"image": images, "target": target})
        with torch.no_grad():
            np.testing.assert_allclose(found["logits"], network(torch.from_numpy(images)), rtol=1e-3, atol=1e-3)
        known = TorchCam(network, part).cam(images, target[:, 0].tolist())
        assert found["cam"].shape == known.shape
        assert found["cam"].dtype == np.float32
        assert known.max() > 0
        np.testing.assert_allclose(found["cam"], known, rtol=1e-3, atol=1e-3 * known.max())


@pytest.mark.parametrize(
    ("name", "layer", "at"),
    [
        (DETECTOR, "last", "relu_18"),
        (DETECTOR, "getitem_63", "getitem_63"),
        ("npr.mini_gan", "last", "relu_12"),
        ("f3net.mini_gan", "relu_33", "relu_33"),
    ],
)
def test_detectors_are_explained(name: str, layer: str, at: str, shipped: Path) -> None:
    entry = load_entry(shipped / name)
    model = onnx.load(entry.model_file)
    graph = gradcam_graph(model, entry.card, layer)
    assert graph.graph.name == f"{name} at {at}"
    found = check_gradcam(model, graph, entry.card, at, probe_inputs(entry.card, 2))
    assert found.within(1e-4, 0.02), found.words()


def test_each_image_has_its_own_target(shipped: Path) -> None:
    entry = load_entry(shipped / "wang20.mini_s0")
    graph = gradcam_graph(onnx.load(entry.model_file), entry.card)
    image = probe_inputs(entry.card, 6)[-1:]
    targets = np.array([[0], [5], [0], [99]])
    cams = answer(graph, {entry.card.input: np.repeat(image, 4, axis=0), "target": targets})["cam"]
    np.testing.assert_allclose(cams[0], cams[2], rtol=1e-5)
    assert np.abs(cams[0] - cams[1]).max() > 0.1 * cams[:2].max()
    assert not cams[3].any()


def test_a_wrong_graph_is_found_out(shipped: Path) -> None:
    entry = load_entry(shipped / DETECTOR)
    model, inputs = onnx.load(entry.model_file), probe_inputs(entry.card, 2)
    graph = gradcam_graph(model, entry.card)
    mean = next(node for node in graph.graph.node if WEIGHTS in node.output)
    mean.op_type = "ReduceMax"
    assert check_gradcam(model, graph, entry.card, "relu_18", inputs).weights < 1e-3  # the mean of equal shares
    mean.op_type = "ReduceSum"
    assert check_gradcam(model, graph, entry.card, "relu_18", inputs).weights > 0.9
    graph = gradcam_graph(model, entry.card)
    bias = next(item for item in graph.graph.initializer if item.name.endswith("bias") and item.dims == [1])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    assert check_gradcam(model, graph, entry.card, "relu_18", inputs).scores > 0.1


@pytest.mark.parametrize(
    ("name", "layer", "says"),
    [
        (DETECTOR, "relu_1x", "expected a value .batch, C, h, w., got none. Name one of relu_1, relu_1"),
        (DETECTOR, "mean", "expected a value .batch, C, h, w., got none"),
        ("deit_s.mini_gan", "last", "got Erf, LayerNormalization, .*take a convolutional network in float"),
        ("f3net.mini_gan", "last", "expected convolutions over the image, got none. Name one of .*relu_33"),
    ],
)
def test_layers_that_cannot_be_explained(name: str, layer: str, says: str, shipped: Path) -> None:
    entry = load_entry(shipped / name)
    with pytest.raises(CardError, match=f"layer .* of {name}: .*{says}"):
        gradcam_graph(onnx.load(entry.model_file), entry.card, layer)


def test_graphs_that_cannot_grow(shipped: Path) -> None:
    entry = load_entry(shipped / DETECTOR)
    model = onnx.load(entry.model_file)
    with pytest.raises(CardError, match="expected pixels to score alone"):
        gradcam_graph(model, entry.card.model_copy(update={"input": "pixels"}))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["cam" if name == "mean" else name for name in names]
    with pytest.raises(CheckpointError, match="expected other names, got cam"):
        gradcam_graph(model, entry.card)


@pytest.mark.usefixtures("no_server")
def test_command_writes_a_proven_entry_that_no_other_wildcard_means(repository: Path) -> None:
    asked = ["export", "gradcam", "--of", DETECTOR, "--layer", "last", "--repository", str(repository)]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    entry, source = load_entry(repository / f"{DETECTOR}.gradcam"), load_entry(repository / DETECTOR)
    assert f"{entry.name}: holds (scores " in done.output
    assert (entry.card.task, entry.card.training["layer"], entry.card.parity) == ("gradcam", "relu_18", None)
    assert entry.card.training["entry_sha256"] == source.weights_sha256
    assert verify_lock(repository) == []
    config = render_config(entry.model_file, entry.card)
    assert [(item.name, list(item.dims)) for item in config.input] == [("image", [128, 128, 3]), ("target", [1])]
    assert [(item.name, list(item.dims)) for item in config.output] == [("score", [1]), ("cam", [8, 8])]
    inputs = probe_inputs(source.card, 3)
    backend = open_backend(f"onnx:{entry.model_file}", EndpointOptions())
    found = backend.infer({"image": inputs, "target": np.zeros((3, 1), np.int64)})
    backend.close()
    np.testing.assert_allclose(found["score"], answer(source.model_file, {"image": inputs})["score"], atol=1e-4)
    assert found["cam"].shape == (3, 8, 8)
    assert found["cam"].min() >= 0
    assert meant("*", None, repository) == meant("*", ("detection",), repository) == [DETECTOR]
    assert meant("*.gradcam", None, repository) == meant("*.gradcam", ("detection",), repository) == [entry.name]


def meant(pattern: str, tasks: tuple[str, ...] | None, repository: Path) -> list[str]:
    return [item.name for item in expand([ModelSpec(name=pattern)], repository, tasks=tasks)]


@pytest.mark.usefixtures("no_server")
def test_nothing_is_written_that_is_not_proven(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "SAME_WEIGHTS", 1e-9)
    with pytest.raises(ParityError, match=f"gradcam of {DETECTOR}: expected scores within .* from finite differences"):
        export_model("gradcam", repository=repository, options={"of": DETECTOR})
    assert [item.name for item in repository.iterdir()] == [DETECTOR]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "export gradcam: expected of, layer, got missing a required argument: 'of'"),
        ({"of": DETECTOR, "tag": "x"}, "expected of, layer, got got an unexpected keyword argument 'tag'"),
        ({"of": "cnnspot.*"}, f"--of: expected the name of one entry.*{DETECTOR}"),
        ({"of": "cnnspot.mini_gna"}, f"Did you mean '{DETECTOR}'"),
        ({"of": "marra19.mini_s0"}, "expected a detector or classifier of images, got attribution"),
    ],
)
def test_refused_options(options: dict[str, str], says: str, repository: Path, shipped: Path) -> None:
    shutil.copytree(shipped / "marra19.mini_s0", repository / "marra19.mini_s0")
    with pytest.raises(CardError, match=says):
        export_model("gradcam", repository=repository, options=options)


def test_it_is_not_built_of_weights() -> None:
    with pytest.raises(CardError, match="one that starts from an entry"):
        build("gradcam", {})
