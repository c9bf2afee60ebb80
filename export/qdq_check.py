"""Holds a QDQ graph's layers, one by one, against the torch modules that they were written from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import fx

from export.classifiers import Normalised
from export.parity import Layers
from export.qdq import OPSET, QdqWriter, Value


def compare_layers(network: Normalised, inputs: torch.Tensor) -> Layers:
    """Run every layer of a quantized network as its ONNX counterpart on the input that it has in torch.

    Errors do not add up over layers this way: what is left is the rounding of each one.

    Args:
        network: as for :func:`qdq_graph`.
        inputs: images, float32 (N, 3, side, side) in [0, 1].
    """
    comparer = _Comparer(fx.symbolic_trace(network.body))
    with torch.no_grad():
        comparer.run((inputs - network.mean) / network.std)
    histogram = np.sum(list(comparer.found.values()), axis=0)
    worst = min(comparer.found, key=lambda name: float(comparer.found[name][0] / comparer.found[name].sum()))
    equal, near = np.cumsum(histogram[:2]) / histogram.sum()
    return Layers(float(equal), float(near), int(np.flatnonzero(histogram)[-1]), worst)


class _Comparer(fx.Interpreter):
    """Runs the body in torch, and beside it, alone, every operation whose result is quantized.

    ``found`` counts values by their distance in steps, 0..255, for each operation.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.traced = traced
        self.found: dict[str, NDArray[np.int64]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node in torch and, where its result is quantized, in ONNX Runtime."""
        result = super().run_node(n)
        if n.op in ("placeholder", "output", "get_attr") or not _is_quantized(result):
            return result
        writer = QdqWriter(self.traced)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        tensors: list[torch.Tensor] = []

        def named(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            tensors.append(value)
            name = f"in{len(tensors)}"
            return Value(name, float(value.q_scale()), int(value.q_zero_point())) if value.is_quantized else Value(name)

        written = getattr(writer, n.op)(n.target, fx.node.map_aggregate(args, named), kwargs)
        found = _run_alone(writer, written.name, tensors)
        wanted = result.int_repr().numpy().astype(np.int16)
        off = np.abs(found.reshape(wanted.shape).astype(np.int16) - wanted)
        self.found[n.name] = np.bincount(off.ravel(), minlength=256)
        return result


def _is_quantized(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_quantized


def _run_alone(writer: QdqWriter, output: str, tensors: Sequence[torch.Tensor]) -> NDArray[np.uint8]:
    """Run what a writer holds on tensors named in1, in2, ..., optimised as ONNX Runtime does where it serves."""
    arrays = {
        f"in{place}": (item.int_repr() if item.is_quantized else item).contiguous().numpy()
        for place, item in enumerate(tensors, start=1)
    }
    if output in arrays:
        return cast("NDArray[np.uint8]", arrays[output])
    kinds = {name: TensorProto.UINT8 if item.dtype == np.uint8 else TensorProto.FLOAT for name, item in arrays.items()}
    graph = helper.make_graph(
        writer.nodes,
        "layer",
        [helper.make_tensor_value_info(name, kinds[name], item.shape) for name, item in arrays.items()],
        [helper.make_tensor_value_info(output, TensorProto.UINT8, None)],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return cast("NDArray[np.uint8]", session.run(None, arrays)[0])
