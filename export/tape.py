"""A forward ONNX graph with room for a backward one: its shapes and constants, and the nodes that are added to it.

Knows no operation; never changes what the forward graph computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper, shape_inference
from onnx.helper import make_opsetid

from export.onnx import OPSET
from harness.card import CARD_KEY, Card
from harness.errors import CheckpointError, problem

Shape = tuple[int | None, ...]
"""Of a value; None where the batch is."""


class Tape:
    """A copy of a model that grows.

    Attributes:
        model: the copy; nodes and constants are appended to its graph.
        made: how many nodes, values and constants were added; what the next name comes from.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Copy a model and infer the shape of every value.

        Args:
            model: float, in ONNX's own operations, without subgraphs or functions.

        Raises:
            CheckpointError: a shape that can't be inferred, or functions of the model's own.
        """
        if model.functions:
            raise CheckpointError(
                problem("model", "a graph of plain operations", "functions of its own", "Inline them first")
            )
        try:
            inferred = shape_inference.infer_shapes(without_weights(model), check_type=True, strict_mode=True)
        except shape_inference.InferenceError as error:
            line = " ".join(str(error).split())[:200]
            raise CheckpointError(problem("model", "shapes that can be inferred", line, "Export it anew")) from error
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.made = 0
        graph = inferred.graph
        self._shapes: dict[str, Shape] = {
            value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        self._given: dict[str, onnx.TensorProto] = {item.name: item for item in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._given[node.output[0]] = node.attribute[0].t
        self._shapes |= {name: tuple(item.dims) for name, item in self._given.items()}
        self._added: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def shape(self, name: str) -> Shape:
        """Return a forward value's shape.

        Raises:
            CheckpointError: it is not known, or more than its first dimension is free.
        """
        shape = self._shapes.get(name)
        if shape is None or None in shape[1:]:
            raise CheckpointError(
                problem(f"value {name}", "a known shape after the batch", str(shape), "Export it with fixed dimensions")
            )
        return shape

    def maps(self) -> dict[str, tuple[int, ...]]:
        """Return the computed values (batch, C, h, w) and the three sizes of each, in order of execution."""
        computed = [name for node in self.model.graph.node for name in node.output if not self.is_constant(name)]
        shapes = {name: self._shapes.get(name, ()) for name in computed}
        return {
            name: tuple(size for size in shape[1:] if size)
            for name, shape in shapes.items()
            if len(shape) == 4 and shape[0] is None and all(shape[1:])
        }

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the array behind a name; None where the name is computed."""
        return numpy_helper.to_array(self._given[name]) if name in self._given else None

    def is_constant(self, name: str) -> bool:
        """Return whether a name stands for an array in the graph, or for an absent input."""
        return not name or name in self._given

    def add(
        self, op: str, *inputs: str, count: int = 1, names: Sequence[str] = (), **attributes: Any
    ) -> tuple[str, ...]:
        """Append a node and return the names of its outputs: those given, or ``count`` new ones."""
        outputs = tuple(names) or tuple(self._name() for _ in range(count))
        self.model.graph.node.append(onnx.helper.make_node(op, inputs, outputs, name=self._name(), **attributes))
        return outputs

    def one(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output and return its name."""
        return self.add(op, *inputs, **attributes)[0]

    def store(self, array: NDArray[Any] | np.generic) -> str:
        """Append a constant and return its name; equal small ones are kept once."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes() if array.size <= 4096 else b"")
        if key[2] and key in self._added:
            return self._added[key]
        name = self._name()
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        if key[2]:
            self._added[key] = name
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Append an int64 vector and return its name."""
        return self.store(np.asarray(values, np.int64))

    def like(self, value: str, name: str) -> str:
        """Append a reshape of a value to a forward value's shape; the batch stays free."""
        return self.one("Reshape", value, self.ints([-1 if dim is None else dim for dim in self.shape(name)]))

    def _name(self) -> str:
        self.made += 1
        return f"reverse.{self.made}"


def check_vacant(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Check that no value of a model has a name that a tape gives to another.

    Args:
        model: the forward model.
        names: those of the values to come, beside a tape's own.

    Raises:
        CheckpointError: one has.
    """
    graph = model.graph
    taken = {name for node in graph.node for name in node.output} | {item.name for item in graph.initializer}
    taken |= {item.name for item in graph.input}
    ours = {*names} | {name for name in taken if name.startswith("reverse.")}
    if clash := sorted(taken & ours):
        raise CheckpointError(problem("graph", "other names", ", ".join(clash), "Rename these values"))


def finished(model: onnx.ModelProto, card: Card, title: str) -> onnx.ModelProto:
    """Give a grown model its version, title and card, check it, and return it."""
    del model.opset_import[:], model.metadata_props[:], model.graph.value_info[:]
    model.opset_import.append(make_opsetid("", OPSET))
    model.graph.name = title
    onnx.helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    onnx.checker.check_model(without_weights(model), full_check=True)
    return model


def attributes_of(node: NodeProto) -> Mapping[str, Any]:
    """Return a node's attributes by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def refuse(node: NodeProto, expected: str, got: str) -> CheckpointError:
    """Return the error for an operation that has no rule for its derivative."""
    do = "Replace the operation, or write its rule in export/adjoints.py"
    return CheckpointError(problem(f"gradient of {node.op_type} {node.name or node.output[0]}", expected, got, do))


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a small copy for checks: large constants are inputs, since shapes need their sizes alone."""
    light, graph = onnx.ModelProto(), onnx.GraphProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for item in model.graph.initializer:
        if np.prod(item.dims) <= 64:
            graph.initializer.append(item)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, item.dims))
    light.graph.CopyFrom(graph)
    return light
