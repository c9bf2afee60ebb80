"""Classifiers at a small size: weights from everywhere, quantized carried over, quantized by ONNX Runtime."""

import errno
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import onnx
import pytest
import torch
import torch.ao.nn.quantized as eager
from onnx import numpy_helper
from PIL import Image as PILImage
from torch import nn
from torchvision import models

from export import triton
from export.catalog import build, export_model
from export.classifier_catalog import CLASSES, CLASSIFIERS
from export.classifiers import (
    ARCHITECTURES,
    Architecture,
    Normalised,
    float_network,
    fold_batch_norm,
    quantized_network,
)
from export.onnx import write_onnx
from export.qdq import qdq_graph
from export.qdq_check import compare_layers
from export.quantize import calibration_images, quantize_static
from harness.backends.ort import open_session
from harness.card import NAME_PATTERN, Card
from harness.errors import CardError, CheckpointError, StoreError

SIDE = 64


def small(name: str) -> Architecture:
    return replace(ARCHITECTURES[name], resize=SIDE, crop=SIDE)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.rand((3, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> Normalised:
    return float_network(small("mobilenet_v2"), "seeded:1")


@pytest.fixture(scope="module")
def quantized() -> Normalised:
    return quantized_network(small("mobilenet_v2"), "seeded:1")


def answer(module: nn.Module, inputs: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(module(inputs))


def saved(tmp_path: Path, state: Any) -> str:
    torch.save(state, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


class TestWeights:
    def test_a_seed_gives_the_same_network_and_another_another(self, network: Normalised, inputs: torch.Tensor) -> None:
        same, other = (float_network(small("mobilenet_v2"), f"seeded:{seed}") for seed in (1, 2))
        np.testing.assert_array_equal(answer(network, inputs), answer(same, inputs))
        assert np.abs(answer(network, inputs) - answer(other, inputs)).max() > 0.1

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_a_state_dict_is_loaded(
        self, tmp_path: Path, network: Normalised, inputs: torch.Tensor, wrapped: bool
    ) -> None:
        state = network.body.state_dict()
        found = float_network(small("mobilenet_v2"), saved(tmp_path, {"state_dict": state} if wrapped else state))
        np.testing.assert_array_equal(answer(found, inputs), answer(network, inputs))

    def test_folded_weights_are_loaded(self, tmp_path: Path, inputs: torch.Tensor) -> None:
        folded = float_network(small("mobilenet_v2"), "seeded:1")
        fold_batch_norm(folded.body)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        whole = float_network(small("mobilenet_v2"), "seeded:1")
        np.testing.assert_allclose(answer(folded, inputs), answer(whole, inputs), rtol=1e-3, atol=1e-3)
        found = float_network(small("mobilenet_v2"), saved(tmp_path, folded.body.state_dict()))
        np.testing.assert_array_equal(answer(found, inputs), answer(folded, inputs))

    def test_inceptions_training_head_is_left_out(self, tmp_path: Path) -> None:
        whole = models.inception_v3(weights=None, init_weights=False)
        found = float_network(ARCHITECTURES["inception_v3"], saved(tmp_path, whole.state_dict()))
        assert not any("AuxLogits" in key for key in found.state_dict())
        assert torch.equal(found.body.fc.weight, whole.fc.weight)  # type: ignore[union-attr, arg-type]

    def test_a_missing_or_a_foreign_key_is_an_error(self, tmp_path: Path, network: Normalised) -> None:
        state = dict(network.body.state_dict())
        del state["classifier.1.bias"]
        with pytest.raises(CheckpointError, match=r"classifier\.1\.bias"):
            float_network(small("mobilenet_v2"), saved(tmp_path, state))
        with pytest.raises(CheckpointError, match="expected all of the network's and no others"):
            float_network(small("squeezenet1_1"), saved(tmp_path, network.body.state_dict()))

    def test_a_truncated_file_is_an_error(self, tmp_path: Path, network: Normalised) -> None:
        path = Path(saved(tmp_path, network.body.state_dict()))
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(CheckpointError, match="expected a state dict"):
            float_network(small("mobilenet_v2"), str(path))

    def test_nothing_in_a_file_is_executed(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
                return Path.write_text, (tmp_path / "owned", "x")

        for name, write in (
            ("torch.pth", torch.save),
            ("plain.pth", lambda item, path: path.write_bytes(pickle.dumps(item))),
        ):
            write({"weight": Trap()}, tmp_path / name)
            with pytest.raises(CheckpointError, match="expected a state dict"):
                float_network(small("mobilenet_v2"), str(tmp_path / name))
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("content", [[1, 2], {"weights": "none"}])
    def test_another_object_is_an_error(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(CheckpointError, match="expected a state dict of tensors"):
            float_network(small("mobilenet_v2"), saved(tmp_path, content))

    @pytest.mark.parametrize("weights", ["nowhere.pth", "IMAGENET", "seeded:x"])
    def test_other_words_name_what_would_do(self, weights: str) -> None:
        with pytest.raises(CheckpointError, match="seeded:"):
            float_network(small("mobilenet_v2"), weights)

    def test_a_failed_download_is_an_error_and_no_random_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise URLError("no route")

        monkeypatch.setattr(models.MobileNet_V2_Weights, "get_state_dict", fail)
        with pytest.raises(CheckpointError, match=r"MobileNet_V2_Weights\.DEFAULT: expected a download.*no route"):
            float_network(small("mobilenet_v2"), "DEFAULT")


class TestQuantizedByTorch:
    def test_a_state_dict_and_a_script_carry_the_same_network(
        self, tmp_path: Path, quantized: Normalised, inputs: torch.Tensor
    ) -> None:
        torch.jit.script(quantized.body).save(str(tmp_path / "script.pth"))
        torch.save(quantized.body.state_dict(), tmp_path / "state.pth")
        for name in ("script.pth", "state.pth"):
            found = quantized_network(small("mobilenet_v2"), str(tmp_path / name))
            np.testing.assert_array_equal(answer(found, inputs), answer(quantized, inputs))

    def test_the_script_of_another_network_is_an_error(self, tmp_path: Path, quantized: Normalised) -> None:
        torch.jit.script(quantized.body).save(str(tmp_path / "script.pth"))
        with pytest.raises(CheckpointError, match="expected all of the network's"):
            quantized_network(small("resnet50"), str(tmp_path / "script.pth"))

    def test_a_network_that_torchvision_does_not_quantize(self) -> None:
        with pytest.raises(CheckpointError, match="ort_int8"):
            quantized_network(small("squeezenet1_1"), "seeded:0")

    def test_weights_scales_and_zero_points_are_the_same(self, quantized: Normalised) -> None:
        graph = qdq_graph(quantized, SIDE, "image", "logits").graph
        arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        dequantized = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
        for module in quantized.modules():
            if not isinstance(module, eager.Conv2d | eager.Linear):
                continue
            weight = module.weight()
            (name,) = [
                name
                for name, array in arrays.items()
                if array.dtype == np.int8 and np.array_equal(array, weight.int_repr().numpy())
            ]
            scale = arrays[dequantized[name].input[1]]
            np.testing.assert_array_equal(scale, weight.q_per_channel_scales().numpy().astype(np.float32))
        zero_points = {int(arrays[node.input[2]]) for node in graph.node if node.op_type == "QuantizeLinear"}
        wanted = {int(module.zero_point) for module in quantized.modules() if hasattr(module, "zero_point")}
        assert zero_points <= wanted

    def test_every_layer_answers_as_torch(self, quantized: Normalised, inputs: torch.Tensor) -> None:
        found = compare_layers(quantized, inputs)
        assert found.near > 0.9999
        assert found.equal > 0.99

    def test_a_wrong_scale_is_seen_layer_by_layer(self, inputs: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        from export import qdq

        small_ = qdq.QdqWriter.small
        monkeypatch.setattr(
            qdq.QdqWriter, "small", lambda self, name, scale, zero: small_(self, name, scale * 1.1, zero)
        )
        assert compare_layers(quantized_network(small("mobilenet_v2"), "seeded:1"), inputs).near < 0.9999

    def test_the_graph_decides_as_torch_and_takes_any_batch(
        self, tmp_path: Path, quantized: Normalised, inputs: torch.Tensor
    ) -> None:
        onnx.save(qdq_graph(quantized, SIDE, "image", "logits"), tmp_path / "q.onnx")
        session = open_session(tmp_path / "q.onnx")
        whole = session.run(None, {"image": inputs.numpy()})[0]
        single = np.concatenate([session.run(None, {"image": inputs[[index]].numpy()})[0] for index in range(3)])
        np.testing.assert_array_equal(whole, single)
        wanted = answer(quantized, inputs)
        assert np.corrcoef(whole.ravel(), wanted.ravel())[0, 1] > 0.95

    def test_an_unknown_operation_is_named(self, inputs: torch.Tensor) -> None:
        network = Normalised(nn.Sequential(nn.Softplus()), small("mobilenet_v2"))
        with pytest.raises(CheckpointError, match="got Softplus"):
            qdq_graph(network, SIDE, "image", "logits")


@pytest.fixture(scope="module")
def card() -> Card:
    return Card(
        name="mobilenet_v2.small", classes=CLASSES, preprocess=small("mobilenet_v2").preprocess, output="logits"
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, network: Normalised, card: Card) -> Path:
    path = tmp_path_factory.mktemp("float") / "float.onnx"
    write_onnx(network, torch.zeros(2, 3, SIDE, SIDE), path, card)
    return path


class TestQuantizedByRuntime:
    @pytest.mark.parametrize("method", ["MinMax", "Percentile"])
    def test_the_graph_is_int8_per_channel_and_near_the_float_one(
        self, tmp_path: Path, model: Path, card: Card, network: Normalised, inputs: torch.Tensor, method: Any
    ) -> None:
        images, words = calibration_images("", 8)
        assert words.startswith("8 crops")
        quantize_static(model, tmp_path / "q.onnx", card, images, method)
        graph = onnx.load(tmp_path / "q.onnx").graph
        assert {node.op_type for node in graph.node} >= {"QuantizeLinear", "DequantizeLinear", "Conv"}
        weights = [numpy_helper.to_array(item) for item in graph.initializer if item.data_type == onnx.TensorProto.INT8]
        assert max(np.abs(item.astype(int)).max() for item in weights) > 64
        scores = open_session(tmp_path / "q.onnx").run(None, {"image": inputs.numpy()})[0]
        assert np.corrcoef(scores.ravel(), answer(network, inputs).ravel())[0, 1] > 0.8

    def test_a_reduced_range_keeps_to_seven_bits(self, tmp_path: Path, model: Path, card: Card) -> None:
        quantize_static(model, tmp_path / "q.onnx", card, calibration_images("", 2)[0], reduce_range=True)
        weights = [
            numpy_helper.to_array(item)
            for item in onnx.load(tmp_path / "q.onnx").graph.initializer
            if item.data_type == onnx.TensorProto.INT8
        ]
        assert max(np.abs(item.astype(int)).max() for item in weights) == 64

    def test_a_folder_is_calibrated_on_and_named_by_its_digest(self, tmp_path: Path) -> None:
        for index in range(3):
            PILImage.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / f"{index}.png")
        (tmp_path / "notes.txt").write_text("no image")
        images, words = calibration_images(str(tmp_path))
        assert len(images) == 3
        PILImage.new("RGB", (20, 20), (9, 0, 0)).save(tmp_path / "0.png")
        assert calibration_images(str(tmp_path))[1] != words

    def test_a_folder_without_images_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(CardError, match="calibration images"):
            calibration_images(str(tmp_path))

    def test_an_unknown_method_is_an_error(self, tmp_path: Path, model: Path, card: Card) -> None:
        with pytest.raises(CardError, match="MinMax, Entropy, Percentile, got 'Median'"):
            quantize_static(model, tmp_path / "q.onnx", card, [], "Median")  # type: ignore[arg-type]


class TestCatalogue:
    def test_every_architecture_comes_in_every_kind(self) -> None:
        names = [f"{name}.{kind}" for name in ARCHITECTURES for kind in ("tv_float", "tv_int8", "ort_int8")]
        assert set(CLASSIFIERS) == set(names) - {"squeezenet1_1.tv_int8"}

    @pytest.mark.parametrize("kind", ["tv_float", "ort_int8"])
    def test_a_card_says_what_it_is(self, kind: str) -> None:
        import re

        card = build(f"squeezenet1_1.{kind}", {"weights": "seeded:3"}).card
        assert re.match(NAME_PATTERN, card.name)
        assert (card.task, card.outputs, card.score) == ("classification", 1000, "logit")
        assert card.classes[0] == "tench"
        assert card.training["weights"] == "seeded:3"
        assert card.source == "random"

    def test_an_export_that_fails_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(triton, "attach_card", full)
        with pytest.raises(
            StoreError, match=r"squeezenet1_1\.tv_float: expected a place that can be written, got No space"
        ):
            export_model("squeezenet1_1.tv_float", repository=tmp_path / "r", options={"weights": "seeded:0"})
        assert not list(tmp_path.rglob("*.onnx"))
