"""Pictures of what the chosen method sees: pairs with their maps, made again from the pairs. Judges none of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest

import cv2
import numpy as np
from PIL import Image as PILImage

from harness.data.spots import Pair, PairSet, Pixels
from harness.difference.method import find
from harness.difference.pictures import sheet
from harness.difference.planes import as_planes
from harness.difference.strategies import Cam
from harness.errors import EndpointError, ImageError
from harness.images.preprocess import Image
from harness.metrics.localisation import Truth
from harness.names import matching
from harness.report.tree import Tile
from harness.tasks.difference import Differences

WIDTH = 960
"""Of a picture in pixels, at most."""

TRUTH = (64, 200, 255)
"""Colour of the outlines of what truly changed."""


def difference_tiles(found: Differences, pairs: PairSet, cams: Mapping[str, Cam], most: int) -> Iterator[Tile]:
    """Yield sheets of pairs as the chosen method sees them, clean: the kinds of change take turns.

    Args:
        found: figures with a choice; without one there are no pictures.
        pairs: where the images are; one that can't be read is left out.
        cams: models of `gradcam`.
        most: how many pictures.
    """
    if found.choice is None:
        return
    for pair in _turns(found, pairs, most):
        try:
            pixels = pairs.read(pair)
            first, second = as_planes(pixels.a), as_planes(pixels.b)
            seen = find(first, second, found.choice.method, cams)
        except (ImageError, EndpointError):
            continue
        page = sheet(as_planes(_outlined(pixels)), seen, ("before; what changed is outlined", "after"))
        spots = Truth(pixels.truth).spots
        yield Tile(_png(page), pair.name, f"{spots} spots, {len(seen.regions)} regions reported")


def _turns(found: Differences, pairs: PairSet, most: int) -> Iterator[Pair]:
    """Yield up to ``most`` tested pairs: the first of every kind, then the second ones."""
    split = found.task.split
    kinds = matching(found.task.subsets, list(pairs.subsets(split)))
    rows = zip_longest(*(pairs.pairs(kind, split, most) for kind in kinds))
    yield from islice((pair for row in rows for pair in row if pair is not None), most)


def _outlined(pixels: Pixels) -> Image:
    """Return the first image with the outlines of what truly changed."""
    outlines, _ = cv2.findContours((pixels.truth > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(pixels.a.copy(), outlines, -1, TRUTH, 1))


def _png(page: Image) -> bytes:
    picture = PILImage.fromarray(page)
    picture.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()
