"""The catalogue's classifiers: every architecture float, quantized by torchvision, and quantized by ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import onnx
import torch
from torchvision import models

from export.built import Built, Export
from export.classifiers import ARCHITECTURES, Architecture, Normalised, float_network, quantized_network
from export.onnx import file_sha256, write_onnx
from export.qdq import qdq_graph
from export.qdq_check import compare_layers
from export.quantize import Method, calibration_images, quantize_static
from harness.card import Card
from harness.errors import CardError, problem

LOGIT_TOLERANCE = 1e-4
"""Of a float logit, relative to the image's largest: float32 sums over some hundred layers, in whatever order."""

OUTPUT = "logits"

CLASSES = tuple(models.ResNet50_Weights.DEFAULT.meta["categories"])


def tv_float(name: str, weights: str = "DEFAULT") -> Built:
    """Build an architecture in float, as torchvision has it."""
    network, architecture = float_network(ARCHITECTURES[name], weights), ARCHITECTURES[name]
    card = _card(f"{name}.tv_float", architecture, weights, f"{name} of torchvision, float32")
    return Built(network, card, LOGIT_TOLERANCE)


def tv_int8(name: str, weights: str = "DEFAULT") -> Built:
    """Build an architecture quantized eagerly by torchvision: its int8 weights, scales and zero points as they are."""
    architecture = ARCHITECTURES[name]
    network = quantized_network(architecture, weights)
    card = _card(f"{name}.tv_int8", architecture, weights, f"{name} of torchvision, int8 weights per channel")
    return Built(
        network,
        card,
        LOGIT_TOLERANCE,
        write=lambda path: onnx.save(qdq_graph(network, architecture.crop, card.input, card.output), path),
        rounds=True,
        layers=lambda inputs: compare_layers(network, torch.from_numpy(inputs)),
    )


def ort_int8(
    name: str, weights: str = "DEFAULT", images: str = "", method: str = "MinMax", reduce_range: str = "no"
) -> Built:
    """Build an architecture quantized statically by ONNX Runtime.

    Args:
        name: of the architecture.
        weights: of the float network.
        images: folder of calibration images; photographs that ship inside packages where empty.
        method: how a range comes from what was measured: MinMax, Entropy or Percentile.
        reduce_range: ``yes`` for 7-bit weights, for processors without VNNI.
    """
    if reduce_range not in ("yes", "no"):
        raise CardError(problem("reduce_range", "yes or no", repr(reduce_range), "Correct it"))
    architecture = ARCHITECTURES[name]
    network = float_network(architecture, weights)
    chosen, words = calibration_images(images)
    card = _card(
        f"{name}.ort_int8",
        architecture,
        weights,
        f"{name}, int8 by ONNX Runtime, static, per channel",
        calibration=words,
        method=method,
        reduce_range=reduce_range,
    )

    def write(path: Path) -> None:
        with _traced(network, card) as model:
            quantize_static(model, path, card, chosen, cast(Method, method), reduce_range == "yes")

    return Built(network, card, LOGIT_TOLERANCE, write=write, rounds=True)


# ONNX Runtime's dynamic quantization is left out: its ranges come from the batch, so that an image's scores depend on
# what else was asked with it, and no parity can hold.
KINDS: Mapping[str, tuple[str, Callable[..., Built]]] = {
    "tv_float": ("float32, as torchvision has it", tv_float),
    "tv_int8": ("quantized by torchvision, carried over exactly", tv_int8),
    "ort_int8": ("quantized by ONNX Runtime, static", ort_int8),
}

CLASSIFIERS: Mapping[str, Export] = {
    f"{name}.{kind}": Export(f"{name}, {words}", partial(build, name))
    for name, architecture in ARCHITECTURES.items()
    for kind, (words, build) in KINDS.items()
    if kind != "tv_int8" or architecture.quantizable is not None
}
"""All of them by name."""


def _card(name: str, architecture: Architecture, weights: str, summary: str, **training: str) -> Card:
    said: dict[str, str | int | float] = {"weights": weights, **training}
    if Path(weights).is_file():
        said["weights"] = f"file, sha256 {file_sha256(Path(weights))}"
    return Card(
        name=name,
        task="classification",
        summary=summary,
        preprocess=architecture.preprocess,
        output=OUTPUT,
        score="logit",
        classes=CLASSES,
        licence="BSD-3-Clause (code); weights as their source says",
        source="random" if weights.startswith("seeded:") else "torchvision",
        training=said,
    )


@contextmanager
def _traced(network: Normalised, card: Card) -> Iterator[Path]:
    """Yield a float network as an ONNX file that lives as long as the block."""
    side = card.preprocess.crop
    assert side is not None
    with tempfile.TemporaryDirectory(prefix="discern-quantize-") as folder:
        path = Path(folder) / "float.onnx"
        write_onnx(network, torch.zeros(2, 3, side, side), path, card)
        yield path
