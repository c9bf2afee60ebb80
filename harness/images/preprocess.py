"""What a card does to pixels before its model sees them; one function for training, calibration, parity and serving."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from pydantic import PositiveInt

from harness.errors import ImageError, problem
from harness.frozen import Frozen

Image = NDArray[np.uint8]
"""An RGB image, uint8, shape (height, width, 3)."""

FILTERS: dict[str, PILImage.Resampling] = {
    "nearest": PILImage.Resampling.NEAREST,
    "bilinear": PILImage.Resampling.BILINEAR,
    "bicubic": PILImage.Resampling.BICUBIC,
    "lanczos": PILImage.Resampling.LANCZOS,
}


class Preprocess(Frozen):
    """Resize, then crop, then lay out the values as the model wants them.

    Attributes:
        resize: the shorter side becomes this many pixels (aspect kept, Pillow's anti-aliased filter).
        filter: the resampling filter of ``resize``.
        crop: side of the square centre crop in pixels.
        pad: whether images smaller than that are padded with zeros evenly; else they are refused.
        dtype: ``uint8`` pixels, or ``float32`` values scaled into ``range``.
        layout: ``NHWC`` or ``NCHW`` of the batch.
        range: value that 0 and 255 map to (``float32`` only).
        mean, std: per-channel normalisation after scaling (``float32`` only).
    """

    resize: PositiveInt | None = None
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    crop: PositiveInt | None = None
    pad: bool = True
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def ready(self) -> Preprocess:
        """The same for images that have their final size: nothing is resized or cropped."""
        return self.model_copy(update={"resize": None, "crop": None})

    @property
    def pixels(self) -> Preprocess:
        """The same resizing and cropping, and nothing else: what is left are pixels, uint8 (height, width, 3)."""
        return Preprocess(resize=self.resize, filter=self.filter, crop=self.crop, pad=self.pad)


def preprocess(image: Image, spec: Preprocess) -> NDArray[Any]:
    """Return one model input made from one image.

    Args:
        image: uint8 RGB, (height, width, 3).
        spec: the card's preprocessing.

    Returns:
        (height, width, 3) for ``NHWC`` or (3, height, width) for ``NCHW``, of ``spec.dtype``; contiguous.

    Raises:
        ImageError: ``too_small``, where nothing is padded.
    """
    resized = resize_shorter(image, spec.resize, spec.filter)
    if spec.crop and not spec.pad and min(resized.shape[:2]) < spec.crop:
        got, do = f"{resized.shape[1]} x {resized.shape[0]}", "Leave it out, or enlarge it"
        raise ImageError("too_small", problem("image", f"at least {spec.crop} pixels a side", got, do))
    pixels = centre_crop(resized, spec.crop)
    if spec.dtype == "float32":
        low, high = spec.range
        values = pixels.astype(np.float32) * np.float32((high - low) / 255.0) + np.float32(low)
        pixels_out: NDArray[Any] = (values - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    else:
        pixels_out = pixels
    return np.ascontiguousarray(pixels_out.transpose(2, 0, 1) if spec.layout == "NCHW" else pixels_out)


def resize_shorter(image: Image, side: int | None, filter: str = "bilinear") -> Image:
    """Resize so that the shorter side is ``side`` pixels; unchanged where it already is or ``side`` is None."""
    height, width = image.shape[:2]
    if side is None or min(height, width) == side:
        return image
    scale = side / min(height, width)
    size = (side, round(height * scale)) if width <= height else (round(width * scale), side)
    return np.asarray(PILImage.fromarray(image).resize(size, FILTERS[filter]))


def pad_to(image: Image, side: int) -> Image:
    """Put zeros evenly around what is smaller than ``side`` pixels."""
    missing = [max(side - length, 0) for length in image.shape[:2]]
    if not any(missing):
        return image
    return np.pad(image, (*((length // 2, length - length // 2) for length in missing), (0, 0)))


def centre_crop(image: Image, side: int | None) -> Image:
    """Cut the central ``side`` x ``side`` square, zero-padding what is smaller; unchanged where ``side`` is None."""
    if side is None:
        return image
    image = pad_to(image, side)
    top, left = (round((length - side) / 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]
