"""Static quantization of an exported float graph by ONNX Runtime; torch plays no part in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnxruntime import quantization as ortq

from export.onnx import quiet
from harness.card import Card
from harness.data.miniature.photographs import PHOTOGRAPHS, load
from harness.errors import CardError, ImageError, problem
from harness.images import decode, preprocess
from harness.images.preprocess import Image

Method = Literal["MinMax", "Entropy", "Percentile"]

METHODS: Mapping[Method, ortq.CalibrationMethod] = {
    "MinMax": ortq.CalibrationMethod.MinMax,
    "Entropy": ortq.CalibrationMethod.Entropy,
    "Percentile": ortq.CalibrationMethod.Percentile,
}

IMAGES = 128
"""Most images that a calibration looks at."""


class Calibration(ortq.CalibrationDataReader):  # type: ignore[misc]
    """Images through a card's preprocessing, one at a time.

    Args:
        card: of the model to be quantized.
        images: RGB images.
    """

    def __init__(self, card: Card, images: Sequence[Image]) -> None:
        self.card, self.images = card, images
        self.rewind()

    def rewind(self) -> None:
        """Start from the first image again."""
        self._left: Iterator[Image] = iter(self.images)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next input by name; None at the end."""
        image = next(self._left, None)
        return None if image is None else {self.card.input: preprocess(image, self.card.preprocess)[None]}


def calibration_images(folder: str, count: int = IMAGES) -> tuple[list[Image], str]:
    """Return images to calibrate on and words for them: a folder's, or photographs that ship inside packages.

    Raises:
        CardError: a folder without images.
    """
    if not folder:
        images = [crop for photograph in PHOTOGRAPHS for crop in _quarters(load(photograph))]
        return images[:count], f"{len(images[:count])} crops of photographs inside scikit-image and scikit-learn"
    found, digest = [], hashlib.sha256()
    for path in islice(sorted(item for item in Path(folder).glob("*") if item.is_file()), count):
        content = path.read_bytes()
        try:
            found.append(decode(content))
        except ImageError:
            continue
        digest.update(hashlib.sha256(content).digest())
    if not found:
        raise CardError(problem(f"calibration images in {folder}", "images", "none", "Name a folder of images"))
    return found, f"{len(found)} images of a folder, sha256 {digest.hexdigest()[:16]}"


def quantize_static(
    model: Path, out: Path, card: Card, images: Sequence[Image], method: Method = "MinMax", reduce_range: bool = False
) -> None:
    """Write the model quantized: int8 weights per channel, uint8 activations, as Q and DQ pairs.

    Args:
        model: the float graph.
        out: where the quantized one goes.
        card: of the model.
        images: what ranges are measured on.
        method: how a range comes from what was measured.
        reduce_range: weights of 7 bits, for processors with AVX2 but without VNNI, whose 16-bit sums saturate.

    Raises:
        CardError: an unknown method.
    """
    if method not in METHODS:
        raise CardError(
            problem("calibration method", f"one of {', '.join(get_args(Method))}", repr(method), "Correct it")
        )
    prepared = out.with_name("prepared.onnx")
    with quiet():
        ortq.shape_inference.quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        ortq.quantize_static(
            str(prepared),
            str(out),
            Calibration(card, images),
            quant_format=ortq.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=ortq.QuantType.QUInt8,
            weight_type=ortq.QuantType.QInt8,
            calibrate_method=METHODS[method],
        )
    prepared.unlink()


def _quarters(image: Image) -> list[Image]:
    """Return an image and its four quarters, contiguous."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    parts = [image[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
    return [image, *(np.ascontiguousarray(part) for part in parts if min(part.shape[:2]) >= 64)]
