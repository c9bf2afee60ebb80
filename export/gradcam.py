"""From a model's graph to one that also says where it looks: Grad-CAM, served without torch. Changes no score."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from export.adjoints import RULES, differentiate
from export.tape import Tape, check_vacant, finished
from harness.card import Card
from harness.errors import CardError, problem

TARGET, CAM = "target", "cam"
"""The input and the output beside the card's."""

WEIGHTS = "cam_weights"
"""The value within the graph, (batch, C, 1, 1), that weighs the layer's channels."""

LAST = "last"
"""In place of a layer's name: the last one whose values lie over the image."""

IN_PLACE = frozenset((
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Div", "Identity", "LeakyRelu",
    "MaxPool", "Mul", "Pad", "Relu", "Resize", "Sigmoid", "Slice", "Sub",
))  # fmt: skip
"""Operations whose values lie over the image where those that they come of do."""


def gradcam_graph(model: onnx.ModelProto, card: Card, layer: str = LAST) -> onnx.ModelProto:
    """Return a graph that answers with its scores and with where a layer's channels speak for one of them.

    Selvaraju et al., ICCV 2017, equations 1 and 2: relu(sum over k of mean(dy/dA_k) A_k), A the layer's values and y a
    score as the graph answers it. Inputs:

    - the card's input, as it is;
    - ``target`` int64 (batch, 1): index of the score to explain, each image its own; 0 of a detector of one head. An
      index that there is no score for has a map of zeros.

    Outputs:

    - the card's output, as it is;
    - ``cam`` float32 (batch, h, w), at least 0: h and w are the layer's.

    Args:
        model: float, of the card's one input and one output; left as it is.
        card: names them, and becomes the metadata.
        layer: name of a value (batch, C, h, w), or LAST.

    Raises:
        CardError: other inputs or outputs than the card says, no such layer, or operations between it and the output
            whose derivative is not known.
        CheckpointError: a shape that can't be inferred, or an operation whose rule can't take it.
    """
    names = ([item.name for item in model.graph.input], [item.name for item in model.graph.output])
    if names != ([card.input], [card.output]):
        expected = f"{card.input} to {card.output} alone"
        raise CardError(problem(f"card {card.name}", expected, f"the graph's tensors {names}", "Correct it"))
    tape = Tape(model)
    check_vacant(tape.model, (TARGET, CAM, WEIGHTS))
    layer = find_layer(tape, card, layer)
    scores = tape.shape(card.output)
    if len(scores) != 2 or not scores[1]:
        raise CardError(problem(f"output {card.output}", "(batch, scores)", str(scores), "Give another model"))
    places = tape.store(np.arange(scores[1], dtype=np.int64)[None])
    seed = tape.one("Cast", tape.one("Equal", places, TARGET), to=TensorProto.FLOAT)
    gradient = differentiate(tape, of=card.output, by=layer, seed=seed)
    tape.add("ReduceMean", gradient, tape.ints([2, 3]), keepdims=1, names=[WEIGHTS])
    weighed = tape.one("ReduceSum", tape.one("Mul", WEIGHTS, layer), tape.ints([1]), keepdims=0)
    tape.add("Relu", weighed, names=[CAM])
    graph = tape.model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.input.append(make_tensor_value_info(TARGET, TensorProto.INT64, [batch, 1]))
    graph.output.append(make_tensor_value_info(CAM, TensorProto.FLOAT, [batch, *tape.shape(layer)[2:]]))
    return finished(tape.model, card, f"{card.name} at {layer}")


def find_layer(tape: Tape, card: Card, layer: str) -> str:
    """Return the name of a value that Grad-CAM can take.

    Raises:
        CardError: it is none of the forward graph's values (batch, C, h, w) on the way to the output, there is none
            that LAST could mean, or the operations above it can't be differentiated.
    """
    leading = _leading(tape, card.output)
    known = [name for name, (_, height, width) in tape.maps().items() if name in leading and height * width > 1]
    found = layer
    if layer == LAST:
        over = _over_image(tape, card.input)
        found = next((name for name in reversed(known) if name in over), "")
    if found not in known:
        near = get_close_matches(layer, known, 5) or known[-8:]
        what = f"layer {layer} of {card.name}"
        expected = "convolutions over the image" if layer == LAST else "a value (batch, C, h, w)"
        do = f"Name one of {', '.join(near)}" if near else "Take a convolutional network"
        raise CardError(problem(what, expected, "none", do))
    above = {node.op_type for node in tape.model.graph.node if _any(node.input, _reached(tape, found))}
    if unknown := sorted(above - set(RULES)):
        what, expected = f"layer {found} of {card.name}", "differentiable operations between it and the score"
        do = "Name a later layer, or take a convolutional network in float"
        raise CardError(problem(what, expected, ", ".join(unknown), do))
    return found


def _leading(tape: Tape, output: str) -> set[str]:
    """Return the values that an output depends on, itself included."""
    found = {output}
    for node in reversed(tape.model.graph.node):
        if _any(node.output, found):
            found |= set(node.input)
    return found


def _reached(tape: Tape, value: str) -> set[str]:
    """Return the values that depend on one, itself included."""
    found = {value}
    for node in tape.model.graph.node:
        if _any(node.input, found):
            found |= set(node.output)
    return found


def _over_image(tape: Tape, image: str) -> set[str]:
    """Return the values of convolutions, and of what follows them, that lie over the image."""
    over, maps = {image}, set[str]()
    for node in tape.model.graph.node:
        convolved = node.op_type == "Conv" or _any(node.input, maps)
        first = node.op_type == "Transpose" and not convolved
        if _any(node.input, over) and (node.op_type in IN_PLACE | {"Conv"} or first):
            over |= set(node.output)
            maps |= set(node.output) if convolved else set()
    return maps


def _any(names: Collection[str], among: set[str]) -> bool:
    return not among.isdisjoint(names)
