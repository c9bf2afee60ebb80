"""For every operation of a classifier's graph, the nodes that carry a gradient from its output to its inputs.

Each rule is the exact derivative that torch's autograd takes, kinks included; nothing here runs a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto

from export.adjoint_windows import average_pool, convolution, max_pool
from export.tape import Tape, attributes_of, refuse

Rule = Callable[[Tape, NodeProto, str], Mapping[int, str]]
"""From a forward node and the gradient of its first output to the gradients of its inputs, by position; constants need
none."""


def relu(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Rectifier: passes where the output is above zero; at zero nothing, as in torch."""
    above = tape.one("Greater", node.output[0], tape.store(np.float32(0)))
    return {0: masked(tape, gradient, above)}


def clip(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Clip: passes strictly between the bounds, as torch's hardtanh and ReLU6 do."""
    bounds = [*node.input[1:], "", ""][:2]
    if not all(map(tape.is_constant, bounds)):
        raise refuse(node, "constant bounds", "computed ones")
    inside = [tape.one(op, node.output[0], name) for op, name in zip(("Greater", "Less"), bounds, strict=True) if name]
    if not inside:
        return {0: gradient}
    return {0: masked(tape, gradient, inside[0] if len(inside) == 1 else tape.one("And", *inside))}


def masked(tape: Tape, gradient: str, mask: str) -> str:
    """Zero a gradient where a mask is false; a product with 0 and 1, which ONNX Runtime does faster than Where."""
    return tape.one("Mul", gradient, tape.one("Cast", mask, to=TensorProto.FLOAT))


def add(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Sum: the gradient itself, summed over what was broadcast."""
    return {at: unbroadcast(tape, gradient, node, at) for at in _computed(tape, node)}


def sub(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Difference: the gradient, and its negative."""
    found = {at: unbroadcast(tape, gradient, node, at) for at in _computed(tape, node)}
    return {at: value if at == 0 else tape.one("Neg", value) for at, value in found.items()}


def mul(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Product: the gradient times the other factor."""
    return {
        at: unbroadcast(tape, tape.one("Mul", gradient, node.input[1 - at]), node, at) for at in _computed(tape, node)
    }


def div(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Quotient by a constant."""
    if not tape.is_constant(node.input[1]):
        raise refuse(node, "a constant divisor", "a computed one")
    return {0: unbroadcast(tape, tape.one("Div", gradient, node.input[1]), node, 0)}


def unbroadcast(tape: Tape, gradient: str, node: NodeProto, at: int) -> str:
    """Sum a gradient of a node's output over what broadcasting repeated of one input."""
    mine, whole = tape.shape(node.input[at]), tape.shape(node.output[0])
    if mine == whole:
        return gradient
    padded = (1,) * (len(whole) - len(mine)) + mine
    axes = [axis for axis, (a, b) in enumerate(zip(padded, whole, strict=True)) if a != b]
    if 0 in axes:
        raise refuse(node, "inputs of the same batch", f"{mine} to {whole}")
    return tape.like(tape.one("ReduceSum", gradient, tape.ints(axes), keepdims=1), node.input[at])


def concat(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Concatenation: each input gets its part."""
    axis = int(attributes_of(node)["axis"]) % len(tape.shape(node.output[0]))
    sizes = [tape.shape(name)[axis] for name in node.input]
    if axis == 0 or None in sizes:
        raise refuse(node, "an axis after the batch", "the batch")
    parts = tape.add("Split", gradient, tape.ints([size for size in sizes if size]), count=len(sizes), axis=axis)
    return {at: part for at, part in enumerate(parts) if not tape.is_constant(node.input[at])}


def reshape(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Reshape and its kin: the gradient in the input's shape."""
    return {0: tape.like(gradient, node.input[0])}


def identity(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Nothing to do."""
    return {0: gradient}


def gather(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Choice of constant places along the last axis: each element goes back to the place that it was taken from."""
    shape, places = tape.shape(node.input[0]), tape.constant(node.input[1])
    last, size = len(shape) - 1, shape[-1]
    if places is None or size is None or int(attributes_of(node).get("axis", 0)) % len(shape) != last:
        raise refuse(node, "constant indices along the last axis", "computed ones, or another axis")
    chosen = np.zeros((places.size, size), np.float32)
    chosen[np.arange(places.size), places.reshape(-1)] = 1
    rows = [*(-1 if dim is None else dim for dim in shape[:-1]), places.size]
    return {0: tape.one("MatMul", tape.one("Reshape", gradient, tape.ints(rows)), tape.store(chosen))}


def mean(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Mean over axes, or global average pooling: every element gets its share."""
    shape = tape.shape(node.input[0])
    axes = list(range(2, len(shape)))
    if node.op_type == "ReduceMean":
        given = tape.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
        if given is None:
            raise refuse(node, "constant axes", "none, or computed ones")
        axes = sorted(int(axis) % len(shape) for axis in given)
    if 0 in axes:
        raise refuse(node, "axes after the batch", str(axes))
    kept = [-1 if dim is None else 1 if axis in axes else dim for axis, dim in enumerate(shape)]
    share = tape.one("Div", gradient, tape.store(np.float32(prod(shape[axis] or 0 for axis in axes))))
    column = tape.one("Reshape", share, tape.ints(kept))
    return {0: tape.one("Expand", column, tape.ints([1 if dim is None else dim for dim in shape]))}


def batch_norm(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Batch normalisation of inference: a factor a channel."""
    scale, _, _, variance = (tape.constant(name) for name in node.input[1:5])
    if scale is None or variance is None or attributes_of(node).get("training_mode", 0):
        raise refuse(node, "constant statistics", "computed ones")
    factor = scale / np.sqrt(variance + attributes_of(node).get("epsilon", 1e-5))
    ones = [1] * (len(tape.shape(node.input[0])) - 2)
    return {0: tape.one("Mul", gradient, tape.store(factor.astype(np.float32).reshape(1, -1, *ones)))}


def gemm(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Linear layer with constant weights: the same, transposed."""
    said = attributes_of(node)
    if said.get("transA", 0) or not all(map(tape.is_constant, node.input[1:])):
        raise refuse(node, "constant weights and bias", "computed ones, or transA")
    return {
        0: tape.one(
            "Gemm", gradient, node.input[1], alpha=said.get("alpha", 1.0), transB=1 - int(said.get("transB", 0))
        )
    }


def matmul(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Product with a constant matrix: with its transpose."""
    weights = tape.constant(node.input[1])
    if weights is None or weights.ndim != 2:
        raise refuse(node, "a constant matrix on the right", "something else")
    return {0: tape.one("MatMul", gradient, tape.one("Transpose", node.input[1], perm=[1, 0]))}


def _computed(tape: Tape, node: NodeProto) -> list[int]:
    return [at for at, name in enumerate(node.input) if not tape.is_constant(name)]


RULES: Mapping[str, Rule] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Concat": concat,
    "Conv": convolution,
    "Div": div,
    "Flatten": reshape,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": mean,
    "Identity": identity,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Mul": mul,
    "ReduceMean": mean,
    "Relu": relu,
    "Reshape": reshape,
    "Squeeze": reshape,
    "Sub": sub,
    "Unsqueeze": reshape,
}
"""By operation, all of ONNX's own domain."""


def differentiate(tape: Tape, *, of: str, by: str, seed: str) -> str:
    """Append the backward graph.

    Args:
        tape: holds the forward graph, its nodes in order of execution.
        of: a forward value.
        by: another, that it depends on.
        seed: the gradient of some scalar by ``of``, in its shape.

    Returns:
        The name of that scalar's gradient by ``by``, in its shape.

    Raises:
        CheckpointError: an operation between the two that has no rule, or one that its rule can't take.
    """
    forward = list(tape.model.graph.node)
    reached = {by}
    between = []
    for node in forward:
        if reached & set(node.input):
            reached |= set(node.output)
            between.append(node)
    gradients = {of: seed}
    for node in reversed(between):
        if node.output[0] not in gradients:
            continue
        if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
            raise refuse(node, f"one of {', '.join(RULES)}", f"{node.domain or 'ai.onnx'}.{node.op_type}")
        for at, value in RULES[node.op_type](tape, node, gradients[node.output[0]]).items():
            name = node.input[at]
            if name in reached:
                gradients[name] = tape.one("Add", gradients[name], value) if name in gradients else value
    if by not in gradients:
        raise refuse(forward[-1], f"an output that depends on {by}", "one that does not")
    return gradients[by]
