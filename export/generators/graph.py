"""A trained generator as an ONNX file that needs no torch, and back."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

from export.generators.architectures import Generator
from export.generators.dyadic import DyadicConv


def write_generator(generator: Generator, path: Path) -> None:
    """Write a generator; inputs ``image`` (uint8 NHWC) and, where it takes it, ``noise`` (int8); output ``made``."""
    for parameter in generator.parameters():
        parameter.requires_grad_(False)
    image = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    names = ["image", "noise"] if generator.takes_noise else ["image"]
    example = (image, torch.zeros(2, 64, 64, 3, dtype=torch.int8)) if generator.takes_noise else (image,)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = {0: "batch", 1: "height", 2: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            generator,
            example,
            str(path),
            input_names=names,
            output_names=["made"],
            dynamic_axes=dict.fromkeys((*names, "made"), free),
            opset_version=18,
            dynamo=False,
        )


def read_generator(generator: Generator, path: Path) -> None:
    """Give a generator of convolutions alone the weights of a file that :func:`write_generator` wrote, in place.

    The file has weights by name, and biases in their layers' units, in the order of the layers' use.
    """
    stored = {item.name: torch.tensor(numpy_helper.to_array(item)) for item in onnx.load(str(path)).graph.initializer}
    layers = {name: layer for name, layer in generator.named_modules() if isinstance(layer, DyadicConv)}
    weights = {name: stored.pop(f"{name}.weight") for name in layers}
    with torch.no_grad():
        for (name, layer), bias in zip(layers.items(), stored.values(), strict=True):
            layer.weight.copy_(weights[name])
            layer.bias.copy_(bias * layer.unit)
