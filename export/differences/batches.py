"""From two images' planes to torch batches of one, refused where they can't be compared; computes nothing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import ImageError, problem

Planes = NDArray[np.float32]
"""An image as float32 (H, W, C): values of pictures lie in [0, 1]; pre-processed ones may be signed."""


def as_batches(
    a: Planes, b: Planes, what: str, *, least: int = 1, channels: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return copies of two images as tensors float32 (1, C, H, W).

    Args:
        a, b: float32 (H, W, C) of one shape, finite.
        what: who asks, for complaints.
        least: smallest side that it can take, in pixels.
        channels: C where only one number of channels will do.

    Raises:
        ImageError: ``unsupported``: other arrays; ``size``: of different shapes; ``too_small``.
    """
    for planes in (a, b):
        if planes.ndim != 3 or planes.dtype != np.float32 or channels not in (None, planes.shape[2]):
            expected, got = f"float32 (H, W, {channels or 'C'})", f"{planes.dtype} {planes.shape}"
            raise ImageError("unsupported", problem(what, expected, got, "Convert the image"))
    if a.shape != b.shape:
        raise ImageError("size", problem(what, f"two images {a.shape}", str(b.shape), "Resize one, or cut it"))
    if min(a.shape[:2]) < least:
        got, do = f"{a.shape[1]} x {a.shape[0]}", "Take larger images, or another metric"
        raise ImageError("too_small", problem(what, f"at least {least} pixels a side", got, do))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ImageError("unsupported", problem(what, "finite values", "NaN or infinity", "Check the pre-processing"))
    first, second = (torch.from_numpy(planes.transpose(2, 0, 1).copy())[None] for planes in (a, b))
    return first, second
