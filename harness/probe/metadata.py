"""What metadata say of a model's tensors, read as an image model's. Pure; asks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.backends.base import ModelInfo
from harness.errors import CardError, problem

Layout = Literal["NCHW", "NHWC"]

DTYPES = {"UINT8": "uint8", "FP32": "float32"}
"""Types of input that the harness can make of an image."""

Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class ImageInput:
    """The tensor that takes images.

    Attributes:
        name: of the tensor.
        dtype: ``uint8`` or ``float32``.
        batch: images that every request must have; None where they are free.
        sides: by each layout that its shape allows, the side of the square image; None where that is free.
    """

    name: str
    dtype: str
    batch: int | None
    sides: Mapping[Layout, int | None]


def image_input(info: ModelInfo, endpoint: str) -> ImageInput:
    """Return the one tensor that a model takes.

    Raises:
        CardError: metadata name none or several, or it takes no RGB images of a type that the harness can make.
    """
    if len(info.inputs) != 1:
        got = ", ".join(info.inputs) or "none in its metadata"
        do = "Name them in the server's model settings" if not info.inputs else "Probe a model that takes images alone"
        raise CardError(problem(f"{endpoint}: inputs", "one tensor", got, do))
    ((name, (dtype, shape)),) = info.inputs.items()
    said = f"{dtype} {list(shape)}"
    if dtype not in DTYPES:
        do = "Serve it with UINT8 pixels, or FP32 values"
        raise CardError(problem(f"{endpoint}: input {name}", "UINT8 or FP32", said, do))
    sides = _sides(shape)
    if not sides:
        raise CardError(
            problem(
                f"{endpoint}: input {name}", "square RGB images, batch first", said, "Probe a model that takes images"
            )
        )
    return ImageInput(name, DTYPES[dtype], shape[0] if shape[0] > 0 else None, sides)


def score_output(outputs: Mapping[str, Tensor], card_output: str | None, endpoint: str) -> str:
    """Return the name of the output with the scores: the card's, the only one, or the only one of (batch, scores).

    Raises:
        CardError: it can't be told.
    """
    if card_output is not None or len(outputs) == 1:
        return card_output or next(iter(outputs))
    flat = [name for name, (dtype, shape) in outputs.items() if len(shape) == 2 and dtype.startswith("FP")]
    if len(flat) != 1:
        got = ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in outputs.items()) or "none"
        raise CardError(problem(f"{endpoint}: outputs", "one of shape (batch, scores)", got, "Probe another model"))
    return flat[0]


def _sides(shape: tuple[int, ...]) -> dict[Layout, int | None]:
    """Return the side by each layout that a shape may stand for."""
    if len(shape) != 4:
        return {}
    _, first, middle, last = shape
    places: dict[Layout, tuple[int, int, int]] = {"NCHW": (first, middle, last), "NHWC": (last, first, middle)}
    known = [layout for layout, (channels, *_) in places.items() if channels == 3] or list(places)
    return {
        layout: height if height > 0 else width if width > 0 else None
        for layout, (channels, height, width) in places.items()
        if layout in known and channels in (3, -1) and (height == width or min(height, width) < 0)
    }
