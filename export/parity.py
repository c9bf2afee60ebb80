"""Proves that an exported graph answers as its source: torch, ONNX Runtime and a real server on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.backends import open_backend
from harness.backends.base import Backend, EndpointOptions
from harness.card import Card, Parity
from harness.data.miniature.photographs import PHOTOGRAPHS, load
from harness.errors import ParityError, problem
from harness.images.preprocess import Image, preprocess

PROBES = 16
"""Images that a verdict rests on."""

Answer = Callable[[NDArray[Any]], NDArray[Any]]
"""From one batch of inputs to scores (batch, heads)."""


@dataclass(frozen=True)
class Layers:
    """How a quantized graph's layers compare with their source's, each on the source's own input.

    Attributes:
        equal: share of the values that are equal.
        near: share of those that are at most one quantization step off.
        largest: largest difference in steps.
        worst: name of the layer with the fewest equal values.
    """

    equal: float
    near: float
    largest: int
    worst: str


def probe_inputs(card: Card, count: int = PROBES) -> NDArray[Any]:
    """Return model inputs (count, ...) of the card's preprocessing, the same each time.

    Extreme images come first (constant, gradient, stripes, noise), then photographs.
    """
    side = card.preprocess.crop or card.preprocess.resize or 224
    return np.stack([preprocess(image, card.preprocess) for image in islice(_probe_images(side), count)])


def _probe_images(side: int) -> Iterator[Image]:
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    yield np.full((side, side, 3), 128, np.uint8)
    yield np.stack(
        [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.tile(ramp[::-1], (side, 1))], axis=-1
    )
    yield np.repeat(np.repeat(np.resize(np.array([0, 255], np.uint8), (side, 1, 1)), side, axis=1), 3, axis=2)
    yield random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    yield np.clip(random.normal(128, 4, (side, side, 3)), 0, 255).astype(np.uint8)
    for photograph in PHOTOGRAPHS:
        yield load(photograph)


def check_parity(
    module: nn.Module,
    model: Path,
    card: Card,
    inputs: NDArray[Any],
    *,
    tolerance: float,
    served: Answer | None = None,
    rounds: bool = False,
    layers: Layers | None = None,
) -> Parity:
    """Compare torch, ONNX Runtime image by image and in one batch, and, where given, a server.

    Args:
        module: the source.
        model: the exported file.
        card: its card; decisions are cut at its heads' thresholds.
        inputs: probe inputs, (N, ...), N at least 2.
        tolerance: largest difference allowed in any score.
        served: answers the same inputs through a server.
        rounds: whether the graph is quantized and so rounds otherwise than its source: its scores may then lie apart
            from the source's, and the share of equal decisions is stated.
        layers: how the layers compare one by one, where that was measured.

    Raises:
        ParityError: a difference above the tolerance, a decision that flips, or scores that are not finite (N, heads).
    """
    with torch.no_grad():
        source = np.asarray(module.eval()(torch.from_numpy(inputs)))
    backend = open_backend(f"onnx:{model}", EndpointOptions())
    try:
        answers = {"torch": source, "batch N": ask(backend, card, inputs)}
        answers["batch 1"] = np.concatenate([ask(backend, card, one[None]) for one in inputs])
    finally:
        backend.close()
    if served is not None:
        answers["served"] = served(inputs)
    for name, scores in answers.items():
        if scores.shape != (len(inputs), card.outputs) or not np.isfinite(scores).all():
            got = f"{scores.shape} with {int((~np.isfinite(scores)).sum())} not finite"
            expected = f"finite scores ({len(inputs)}, {card.outputs})"
            raise ParityError(
                problem(f"parity of {card.name}: {name}", expected, got, "Correct the module or its card")
            )
    batched = answers["batch N"]
    parity = Parity(
        probes=len(inputs),
        torch_max_abs=_distance(source, batched, card),
        batch_max_abs=_distance(answers["batch 1"], batched, card),
        served_max_abs=_distance(answers["served"], batched, card) if served is not None else None,
        flips=_flips([scores for name, scores in answers.items() if not (rounds and name == "torch")], card),
        tolerance=tolerance,
        agreement=float((source.argmax(axis=1) == batched.argmax(axis=1)).mean()) if rounds else None,
        layers_equal=layers.equal if layers else None,
        layers_near=layers.near if layers else None,
    )
    if not parity.passed:
        raise ParityError(
            problem(
                f"parity of {card.name}",
                f"differences up to {tolerance:g} and no flipped decision",
                words(parity),
                "Compare the graph with its source operation by operation",
            )
        )
    return parity


def ask(backend: Backend, card: Card, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return the card's output for one batch; raises EndpointError."""
    return np.asarray(backend.infer({card.input: inputs})[card.output])


def words(parity: Parity) -> str:
    """Return a verdict's figures as one line."""
    served = "not served" if parity.served_max_abs is None else f"served {parity.served_max_abs:.2g}"
    more = f", {parity.agreement:.0%} decided as the source" if parity.agreement is not None else ""
    if parity.layers_near is not None:
        more += f", layers {parity.layers_equal:.3%} equal and {parity.layers_near:.4%} within a step"
    return (
        f"torch {parity.torch_max_abs:.2g}, batch {parity.batch_max_abs:.2g}, {served}, "
        f"{parity.flips} flipped{more}, over {parity.probes} images"
    )


def _distance(a: NDArray[Any], b: NDArray[Any], card: Card) -> float:
    """Return the largest difference; of logits, which have no scale, in units of an image's largest."""
    known = b.astype(np.float64)
    unit = np.maximum(1.0, np.abs(known).max(axis=1, keepdims=True)) if card.score == "logit" else 1.0
    return float((np.abs(a - known) / unit).max())


def _flips(answers: list[NDArray[Any]], card: Card) -> int:
    """Count the decisions on which not all answers agree: the highest class, or oriented scores above thresholds.

    An embedding decides nothing.
    """
    if card.task == "embedding":
        return 0
    if card.classes:
        classes = np.stack([scores.argmax(axis=1) for scores in answers])
        return int((classes != classes[0]).any(axis=0).sum())
    sign = 1.0 if card.fake == "high" else -1.0
    thresholds = np.array([head.threshold for head in card.heads], np.float32)
    decisions = np.stack([sign * scores > thresholds for scores in answers])
    return int((decisions != decisions[0]).any(axis=0).sum())
