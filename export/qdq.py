"""From torch's eagerly quantized modules to a QDQ graph: weights, scales and zero points as they are, none computed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
import torch
import torch.ao.nn.intrinsic.quantized as intrinsic
import torch.ao.nn.quantized as quantized
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn
from torch.nn import functional as F

from export.classifiers import Normalised
from harness.errors import CheckpointError, problem

OPSET = 18


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: quantized uint8 where it has a scale, else float32."""

    name: str
    scale: float | None = None
    zero_point: int = 0

    @property
    def quantized(self) -> bool:
        """Whether it holds uint8."""
        return self.scale is not None


def qdq_graph(network: Normalised, side: int, input_name: str, output_name: str) -> onnx.ModelProto:
    """Write a network whose body is quantized eagerly (x86 or fbgemm) as standard ONNX with Q and DQ pairs.

    Between two operations every tensor is what it is in torch: uint8 with torch's scale and zero point. Biases, which
    torch keeps as float32, become the nearest int32 multiples of input scale x weight scale, as runtimes want them.

    Args:
        network: normalisation and quantized body.
        side: of the input in pixels; the batch is free.
        input_name, output_name: of the graph.

    Raises:
        CheckpointError: an operation that has no counterpart here, by its name.
    """
    writer = QdqWriter(fx.symbolic_trace(network.body))
    mean = writer.constant(network.mean.numpy())
    std = writer.constant(network.std.numpy())
    centred = writer.node("Sub", [input_name, mean])
    scaled = Value(writer.node("Div", [centred, std]))
    result = cast(Value, writer.run(scaled))
    writer.nodes.append(helper.make_node("Identity", [writer.real(result)], [output_name]))
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["batch", writer.outputs])],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


class QdqWriter(fx.Interpreter):
    """Interprets the traced body with graph values in place of tensors."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.outputs = 0
        self._constants: dict[tuple[str, bytes], str] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Write a module's operation; its arguments are values."""
        module = self.fetch_attr(str(target))
        for kind, write in _MODULES.items():
            if isinstance(module, kind):
                return write(self, module, *args)
        raise _unknown(type(module).__name__)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Write a function's operation."""
        write = _FUNCTIONS.get(getattr(target, "_qualified_op_name", None) or target)
        if write is None:
            raise _unknown(str(target))
        return write(self, *args, **kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Write a tensor method's operation."""
        write = _METHODS.get(str(target))
        if write is None:
            raise _unknown(str(target))
        return write(self, *args, **kwargs)

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of an initialiser; equal ones are shared."""
        array = np.asarray(array)
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"c{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output and return that output's name."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{name}", **attributes))
        return name

    def real(self, value: Value) -> str:
        """Return a value as float32."""
        if value.scale is None:
            return value.name
        return self.node("DequantizeLinear", [value.name, *self._scales(value.scale, value.zero_point)])

    def small(self, name: str, scale: float, zero_point: int) -> Value:
        """Quantize a float32 tensor to uint8."""
        return Value(self.node("QuantizeLinear", [name, *self._scales(scale, zero_point)]), scale, zero_point)

    def like(self, name: str, value: Value) -> Value:
        """Return a float32 tensor quantized as a value was, or as it is where that was not."""
        return Value(name) if value.scale is None else self.small(name, value.scale, value.zero_point)

    def _scales(self, scale: float, zero_point: int) -> list[str]:
        return [self.constant(np.array(scale, np.float32)), self.constant(np.array(zero_point, np.uint8))]

    def weights(self, weight: torch.Tensor, bias: torch.Tensor | None, scale: float) -> list[str]:
        """Return dequantized weights and bias of an operation whose input has this scale; output channels first."""
        if weight.qscheme() == torch.per_channel_affine:
            scales, zeros = weight.q_per_channel_scales().numpy(), weight.q_per_channel_zero_points().numpy()
        else:
            count = weight.shape[0]
            scales, zeros = np.full(count, weight.q_scale()), np.full(count, weight.q_zero_point())
        steps = [self.constant(scales.astype(np.float32)), self.constant(zeros.astype(np.int8))]
        names = [self.node("DequantizeLinear", [self.constant(weight.int_repr().numpy()), *steps], axis=0)]
        if bias is not None:
            unit = np.float32(scale) * scales.astype(np.float32)
            whole = np.rint(bias.detach().numpy().astype(np.float64) / unit).astype(np.int32)
            zeros32 = self.constant(np.zeros(len(unit), np.int32))
            names.append(self.node("DequantizeLinear", [self.constant(whole), self.constant(unit), zeros32], axis=0))
        return names


def _quantize(writer: QdqWriter, module: Any, value: Value) -> Value:
    return writer.small(value.name, float(module.scale), int(module.zero_point))


def _dequantize(writer: QdqWriter, module: Any, value: Value) -> Value:
    return Value(writer.real(value))


def _convolution(writer: QdqWriter, module: Any, value: Value) -> Value:
    assert value.scale is not None
    out = writer.node(
        "Conv",
        [writer.real(value), *writer.weights(module.weight(), module.bias(), value.scale)],
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=[*module.padding, *module.padding],
        dilations=list(module.dilation),
        group=module.groups,
    )
    out = writer.node("Relu", [out]) if isinstance(module, intrinsic.ConvReLU2d) else out
    return writer.small(out, module.scale, module.zero_point)


def _linear(writer: QdqWriter, module: Any, value: Value) -> Value:
    assert value.scale is not None
    weight, bias = module._weight_bias()
    out = writer.node("Gemm", [writer.real(value), *writer.weights(weight, bias, value.scale)], transB=1)
    out = writer.node("Relu", [out]) if isinstance(module, intrinsic.LinearReLU) else out
    writer.outputs = weight.shape[0]
    return writer.small(out, module.scale, module.zero_point)


def _relu(writer: QdqWriter, module: Any, value: Value) -> Value:
    return writer.like(writer.node("Relu", [writer.real(value)]), value)


def _same(writer: QdqWriter, module: Any, value: Value) -> Value:
    return value


def _max_pool(
    writer: QdqWriter, value: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **_: Any
) -> Value:
    out = writer.node(
        "MaxPool",
        [writer.real(value)],
        kernel_shape=_pair(kernel_size),
        strides=_pair(kernel_size if stride is None else stride),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
    )
    return writer.like(out, value)


def _average_pool(writer: QdqWriter, value: Value, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Value:
    out = writer.node(
        "AveragePool",
        [writer.real(value)],
        kernel_shape=_pair(kernel_size),
        strides=_pair(kernel_size if stride is None else stride),
        pads=_pair(padding) * 2,
        count_include_pad=1,
    )
    return writer.like(out, value)


def _global_pool(writer: QdqWriter, value: Value, output_size: Any = 1, *_: Any) -> Value:
    if set(_pair(output_size)) != {1}:
        raise _unknown(f"adaptive pooling to {output_size}")
    return writer.like(writer.node("GlobalAveragePool", [writer.real(value)]), value)


def _mean(writer: QdqWriter, value: Value, dim: Any, keepdim: bool = False) -> Value:
    if sorted(d % 4 for d in dim) != [2, 3]:
        raise _unknown(f"mean over {dim}")
    pooled = _global_pool(writer, value)
    return pooled if keepdim else _flatten(writer, pooled)


def _flatten(writer: QdqWriter, value: Value, start_dim: int = 1, *_: Any) -> Value:
    return Value(writer.node("Flatten", [value.name], axis=start_dim), value.scale, value.zero_point)


def _add(writer: QdqWriter, a: Value, b: Value, scale: float, zero_point: int) -> Value:
    return writer.small(writer.node("Add", [writer.real(a), writer.real(b)]), scale, zero_point)


def _add_relu(writer: QdqWriter, a: Value, b: Value, scale: float, zero_point: int) -> Value:
    out = writer.node("Add", [writer.real(a), writer.real(b)])
    return writer.small(writer.node("Relu", [out]), scale, zero_point)


def _concatenate(writer: QdqWriter, values: Sequence[Value], dim: int, scale: float, zero_point: int) -> Value:
    out = writer.node("Concat", [writer.real(value) for value in values], axis=dim)
    return writer.small(out, scale, zero_point)


def _pair(value: Any) -> list[int]:
    return [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)] * 2


def _unknown(name: str) -> CheckpointError:
    known = "convolutions, linear layers, pools, sums and concatenations"
    return CheckpointError(problem("quantized network", known, name, "Quantize it with ONNX Runtime instead"))


_MODULES: Mapping[type[nn.Module], Callable[..., Value]] = {
    quantized.Quantize: _quantize,
    quantized.DeQuantize: _dequantize,
    quantized.Conv2d: _convolution,
    quantized.Linear: _linear,
    nn.ReLU: _relu,
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.MaxPool2d: lambda w, m, v: _max_pool(w, v, m.kernel_size, m.stride, m.padding, m.dilation),
    nn.AvgPool2d: lambda w, m, v: _average_pool(w, v, m.kernel_size, m.stride, m.padding),
    nn.AdaptiveAvgPool2d: lambda w, m, v: _global_pool(w, v, m.output_size),
}

_FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    "quantized::add": _add,
    "quantized::add_relu": _add_relu,
    "quantized::cat": _concatenate,
    torch.flatten: _flatten,
    torch.mean: _mean,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _average_pool,
    F.adaptive_avg_pool2d: _global_pool,
    F.dropout: lambda writer, value, *_, **__: value,
    F.relu: lambda writer, value, *_, **__: _relu(writer, None, value),
    operator.getitem: lambda writer, value, index: value[index],
}

_METHODS: Mapping[str, Callable[..., Any]] = {"mean": _mean, "flatten": _flatten}
