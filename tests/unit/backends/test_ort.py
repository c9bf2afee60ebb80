from pathlib import Path

import numpy as np
import pytest

from harness.backends import EndpointOptions, open_backend
from harness.errors import EndpointRefused, EndpointUnavailable


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EndpointUnavailable, match="an ONNX file"):
        open_backend(f"onnx:{tmp_path / 'none.onnx'}", EndpointOptions())


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(EndpointRefused, match="an ONNX model"):
        open_backend(f"onnx:{tmp_path / 'bad.onnx'}", EndpointOptions())


def test_a_graph_without_card_says_so(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    backend = open_backend(f"onnx:{tmp_path / 'm.onnx'}", EndpointOptions())
    assert backend.info().card is None
    assert backend.info().inputs == {"x": ("FP32", (-1, 2))}
    np.testing.assert_array_equal(backend.infer({"x": np.ones((3, 2), np.float32)})["y"], 1)
