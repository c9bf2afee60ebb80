"""A trained generator as an ONNX file that needs no torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from export.generators.architectures import Generator


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
