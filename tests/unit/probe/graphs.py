"""Tiny graphs that look at photographs under one convention of values."""

from pathlib import Path

import numpy as np
import pytest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CONVENTIONS = {
    "0..1": ((0.0, 1.0), (0.0,) * 3, (1.0,) * 3),
    "0..255": ((0.0, 255.0), (0.0,) * 3, (1.0,) * 3),
    "-1..1": ((-1.0, 1.0), (0.0,) * 3, (1.0,) * 3),
    "ImageNet mean and std": ((0.0, 1.0), MEAN, STD),
}


def hues(
    path: Path,
    *,
    values: str = "0..1",
    layout: str = "NCHW",
    side: int | None = 32,
    softmax: bool = False,
    batch: int = 0,
) -> Path:
    """Write a graph that tells which of 3 colours and 2 greys an image shows most: it decides by pixels in [0, 1].

    Pixels outside of [0, 1] are seen as the nearest inside; its decisions therefore depend on the convention.
    """
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    helper, proto = onnx.helper, onnx.TensorProto
    (low, high), mean, std = CONVENTIONS[values]
    channels = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
    scale = np.array(std, np.float32).reshape(channels) / (high - low)
    offset = (np.array(mean, np.float32).reshape(channels) - low) / (high - low)
    weights = np.array([[3, -2, -1], [-1, 3, -2], [-2, -1, 3], [1, 1, 1], [-1, -1, -1]], np.float32).T * 8
    bias = np.array([0, 0, 0, -12.5, 10.5], np.float32)
    constants = {"scale": scale, "offset": offset, "weights": weights, "bias": bias}
    constants |= {"zero": np.float32(0), "one": np.float32(1)}
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["pixels"]),
        helper.make_node("Clip", ["pixels", "zero", "one"], ["seen"]),
        helper.make_node("ReduceMean", ["seen"], ["colour"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits" if softmax else "y"]),
    ]
    nodes += [helper.make_node("Softmax", ["logits"], ["y"], axis=1)] if softmax else []
    sides = [side or "h", side or "w"]
    shape = [batch or "batch", *([3, *sides] if layout == "NCHW" else [*sides, 3])]
    graph = helper.make_graph(
        nodes,
        "hues",
        [helper.make_tensor_value_info("x", proto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", proto.FLOAT, [batch or "batch", 5])],
        [onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
    return path


def mean(path: Path, dtype: str = "UINT8", shape: tuple[object, ...] = ("batch", 32, 32, 3)) -> Path:
    """Write a graph that gives the mean of its input, whatever it is, and ten."""
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    helper, proto = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=proto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=list(range(1, len(shape))), keepdims=1),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Add", ["flat", "ten"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", getattr(proto, dtype), shape)],
        [helper.make_tensor_value_info("y", proto.FLOAT, ["batch", 1])],
        [onnx.numpy_helper.from_array(np.array([10], np.float32), "ten")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
    return path
