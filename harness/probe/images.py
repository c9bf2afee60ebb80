"""What an endpoint is shown: photographs that ship inside installed packages, and the same hardly changed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from harness.data.miniature.photographs import PHOTOGRAPHS, load
from harness.images.degrade import parse_degradation
from harness.images.preprocess import Image, centre_crop, resize_shorter

CHANGES = ("shift dx=2 dy=1", "jpeg quality=95")
"""Changes that a decision should survive; a mirrored image is one more."""


@lru_cache(maxsize=2)
def photographs(side: int) -> tuple[Image, ...]:
    """Return every photograph as a square of ``side`` pixels: whole, and its upper left and lower right quarters."""
    images: list[Image] = []
    for photograph in PHOTOGRAPHS:
        whole = centre_crop(pixels := load(photograph), min(pixels.shape[:2]))
        half = len(whole) // 2
        cuts = (whole, whole[:half, :half], whole[half:, half:])
        images += [resize_shorter(cut, side) for cut in cuts]
    return tuple(images)


def views(image: Image) -> list[Image]:
    """Return an image and its small changes: mirrored, moved by two pixels and one, re-encoded as JPEG 95."""
    changed = [parse_degradation(change)(image, 0) for change in CHANGES]
    return [image, np.ascontiguousarray(image[:, ::-1]), *changed]
