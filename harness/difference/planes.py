"""From any picture array to planes: float32 (H, W, 3), data range 1. The only place that knows dtypes and channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import ImageError, problem

Planes = NDArray[np.float32]
"""An image as float32 (H, W, C): as decoded, three channels in [0, 1]; after a pre-processor, any and signed."""

SMALLEST = 8
"""Least side of a picture in pixels."""


def as_planes(picture: ArrayLike) -> Planes:
    """Return a picture as float32 RGB (H, W, 3) in [0, 1].

    ===================  ==========================================
    dtype                value 1.0 is
    ===================  ==========================================
    uint8, uint16        255, 65535
    float                1.0; values outside [0, 1] are refused
    bool                 True
    ===================  ==========================================

    Gray (H, W) or (H, W, 1) becomes three equal channels; alpha, the last of two or four channels, is laid over white.

    Raises:
        ImageError: ``unsupported``: another dtype or shape, or floats that are not finite in [0, 1]; ``too_small``: a
            side under SMALLEST pixels.
    """
    array = np.asarray(picture)
    shaped = array[:, :, None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 2, 3, 4):
        what, got = "(H, W), or (H, W, 1 to 4)", str(array.shape)
        raise ImageError("unsupported", problem("picture", what, got, "Give one image, channels last"))
    if min(shaped.shape[:2]) < SMALLEST:
        got = f"{shaped.shape[1]} x {shaped.shape[0]}"
        raise ImageError("too_small", problem("picture", f"at least {SMALLEST} pixels a side", got, "Enlarge it"))
    planes = _scaled(shaped)
    if planes.shape[2] in (2, 4):
        alpha = planes[:, :, -1:]
        planes = planes[:, :, :-1] * alpha + (1 - alpha)
    return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)))


def _scaled(array: NDArray[Any]) -> Planes:
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) * np.float32(1 / np.iinfo(array.dtype).max)
    if array.dtype == bool:
        return array.astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError("unsupported", problem("picture", "uint8, uint16, float or bool", str(array.dtype), "Cast it"))
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        got = f"{array.min():g} to {array.max():g}"
        raise ImageError("unsupported", problem("picture", "floats in [0, 1]", got, "Scale it, or give uint8"))
    return array.astype(np.float32)
