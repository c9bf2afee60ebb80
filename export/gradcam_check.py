"""Holds a Grad-CAM graph against the entry it came of: its scores, and its channel weights by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_node, make_tensor_value_info

from export.gradcam import CAM, TARGET, WEIGHTS
from harness.card import Card

Tensors = Mapping[str, NDArray[Any]]

CHANNELS = 24
"""Channels whose weights are compared: half of them the heaviest, half drawn."""

STEPS = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Of the layer's spread: how far a channel is nudged. Rounding spoils small steps, rectifiers that flip large ones."""

NUDGE = "nudge"


@dataclass(frozen=True)
class Found:
    """How far a graph lies from what it should answer.

    Attributes:
        scores: largest difference from the entry's scores, in units of an image's largest where that is beyond 1.
        weights: largest distance of an image's channel weights from central finite differences, relative L2, each at
            its best step.
        served: largest difference from the served graph, over scores and maps; None where none was asked.
    """

    scores: float
    weights: float
    served: float | None

    def within(self, scores: float, weights: float) -> bool:
        """Whether all differences are; NaN is not."""
        return self.scores <= scores and self.weights <= weights and (self.served or 0.0) <= scores

    def words(self) -> str:
        """Return the figures as one line."""
        served = "not served" if self.served is None else f"served {self.served:.2g}"
        return f"scores {self.scores:.2g}, weights {self.weights:.2g} from finite differences, {served}"


def check_gradcam(
    entry: onnx.ModelProto,
    graph: onnx.ModelProto,
    card: Card,
    layer: str,
    inputs: NDArray[Any],
    served: Callable[[Tensors], Tensors] | None = None,
) -> Found:
    """Compare, each image's largest score explained.

    Args:
        entry: answers with scores alone.
        graph: from `gradcam_graph`.
        card: names the tensors.
        layer: the value that the graph explains.
        inputs: probe inputs, (N, ...).
        served: answers the graph's inputs through a server.
    """
    known = _session(entry).run([card.output], {card.input: inputs})[0]
    target = known.argmax(axis=1)[:, None].astype(np.int64)
    names = (card.output, CAM, WEIGHTS, layer)
    feed = {card.input: inputs, TARGET: target}
    answers = dict(zip(names, _session(_showing(graph, (WEIGHTS, layer))).run(names, feed), strict=True))
    there = served(feed) if served else {}
    nudged = _session(_nudged(entry, layer, answers[layer].shape[1]))
    random = np.random.default_rng(0)
    distances = []
    for image, place, values, weights in zip(inputs, target[:, 0], answers[layer], answers[WEIGHTS], strict=True):
        weights = weights.reshape(-1)
        chosen = np.argsort(-np.abs(weights))[: CHANNELS // 2]
        chosen = np.union1d(chosen, random.permutation(len(weights))[: CHANNELS // 2])
        spread, share = float(values.std()) or 1.0, 1 / values[0].size
        found = [_differences(nudged, card, image, int(place), chosen, step * spread) * share for step in STEPS]
        distances.append(min(_relative(item, weights[chosen]) for item in found))
    return Found(
        scores=_distance(answers[card.output], known),
        weights=max(distances),
        served=max(_distance(there[name], answers[name]) for name in (card.output, CAM)) if served else None,
    )


def _relative(a: NDArray[np.float64], b: NDArray[Any]) -> float:
    """Return |a - b| over the longer of the two; 0 where both are zero."""
    return float(np.linalg.norm(a - b) / (max(np.linalg.norm(a), np.linalg.norm(b)) or 1.0))


def _differences(
    session: ort.InferenceSession, card: Card, image: NDArray[Any], place: int, channels: NDArray[Any], step: float
) -> NDArray[np.float64]:
    """Return the derivative of one score by a number added to the whole of a channel, for every channel named."""
    count, (_, width, *_) = len(channels), session.get_inputs()[1].shape
    nudges = np.zeros((count, width, 1, 1), np.float32)
    nudges[np.arange(count), channels] = step
    images = np.broadcast_to(image, (count, *image.shape))
    above, below = (
        session.run([card.output], {card.input: images, NUDGE: sign * nudges})[0][:, place].astype(np.float64)
        for sign in (np.float32(1), np.float32(-1))
    )
    return np.asarray((above - below) / (2 * np.float64(np.float32(step))))


def _nudged(model: onnx.ModelProto, layer: str, channels: int) -> onnx.ModelProto:
    """Return a copy that takes numbers (batch, C, 1, 1) which are added to a layer's values for whatever follows."""
    grown = onnx.ModelProto()
    grown.CopyFrom(model)
    graph = grown.graph
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == layer:
                node.input[at] = f"{layer}.{NUDGE}"
    maker = next(at for at, node in enumerate(graph.node) if layer in node.output)
    graph.node.insert(maker + 1, make_node("Add", [layer, NUDGE], [f"{layer}.{NUDGE}"]))
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.input.append(make_tensor_value_info(NUDGE, TensorProto.FLOAT, [batch, channels, 1, 1]))
    return grown


def _showing(model: onnx.ModelProto, names: tuple[str, ...]) -> onnx.ModelProto:
    """Return a copy that also answers with values of four dimensions within it."""
    grown = onnx.ModelProto()
    grown.CopyFrom(model)
    grown.graph.output.extend(make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in names)
    return grown


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest difference, in units of an image's largest value where that is beyond 1."""
    rows = b.reshape(len(b), -1).astype(np.float64)
    unit = np.maximum(1.0, np.abs(rows).max(axis=1, keepdims=True))
    return float((np.abs(a.reshape(len(a), -1) - rows) / unit).max())
