import logging
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.onnx import OPSET, attach_card, attached_card, file_sha256, write_onnx
from harness.card import Parity
from harness.errors import CardError
from tests.unit.export.conftest import SIDE, Exported, make_bank, make_card, make_filter


def test_tensors_are_as_the_card_says(exported: Exported) -> None:
    (image,) = onnx.load(exported.model).graph.input
    (score,) = onnx.load(exported.model).graph.output
    assert (image.name, score.name) == ("image", "score")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert score.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [0, SIDE, SIDE, 3]
    assert [dim.dim_value for dim in score.type.tensor_type.shape.dim] == [0, 3]


def test_the_graph_holds_nothing_that_is_not_needed(exported: Exported) -> None:
    model = onnx.load(exported.model)
    found = Counter(node.op_type for node in model.graph.node)
    assert found == Counter(
        {"Transpose": 1, "Cast": 1, "Conv": 4, "Relu": 3, "Div": 2, "Reshape": 1, "ReduceMean": 1, "Sub": 1}
        | {"ReduceL2": 1, "Clip": 1, "MatMul": 1, "Add": 1}
    ), "batch norm and constants are folded, and one filter pass serves three fingerprints"
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_is_answered_as_torch_does(exported: Exported, batch: int) -> None:
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)
    session = ort.InferenceSession(str(exported.model), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = exported.module(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(session.run(None, {"image": pixels})[0], expected, atol=1e-6)


def test_folding_keeps_the_filters_function() -> None:
    network, x = make_filter(), torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        np.testing.assert_allclose(network.folded()(x), network(x), atol=1e-6)


def test_the_same_weights_give_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    again = tmp_path / "model.onnx"
    write_onnx(exported.module, torch.ones(3, SIDE, SIDE, 3, dtype=torch.uint8), again, exported.card)
    assert file_sha256(again) == file_sha256(exported.model)


def test_nothing_of_the_exporting_machine_is_kept(exported: Exported) -> None:
    content = exported.model.read_bytes()
    for trace in (b".py", b"site-packages", b"stack_trace", str(Path.home()).encode() + b"/", b"torch.fx"):
        assert trace not in content


def test_exporting_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Double(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (image.float() * 2).flatten(1)[:, :3]

    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_onnx(
            Double(), torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), tmp_path / "m.onnx", make_card(make_bank())
        )
    assert not caught
    assert not [item for item in caplog.records if item.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


def test_a_card_is_replaced_and_the_graph_is_not(exported: Exported, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(exported.model.read_bytes())
    parity = Parity(probes=2, torch_max_abs=0, batch_max_abs=0, served_max_abs=None, flips=0, tolerance=1e-6)
    card = exported.card.model_copy(update={"parity": parity})
    attach_card(model, card)
    assert attached_card(exported.model) == exported.card
    assert attached_card(model) == card
    before, after = onnx.load(exported.model), onnx.load(model)
    assert before.graph == after.graph
    assert len(after.metadata_props) == 1


def test_a_file_without_a_card(exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(exported.model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    assert attached_card(tmp_path / "bare.onnx") is None


def test_a_card_of_other_tensors_is_refused(exported: Exported, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(exported.model.read_bytes())
    with pytest.raises(CardError, match=r"pixels, score"):
        attach_card(model, exported.card.model_copy(update={"input": "pixels"}))
    assert file_sha256(model) == file_sha256(exported.model)
