"""Outlines and fillings of objects that are put into pictures, by integers alone: the same on every machine."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.images.preprocess import Image

Field = NDArray[np.int64]

FULL = 9
"""Weight of a pixel well inside an outline; towards its edge 6, then 3."""

CELLS = (3, 5, 9, 17)
"""Widths of a texture's grain in pixels."""


def outline(rng: np.random.Generator, side: int, area: int) -> NDArray[np.int32]:
    """Draw an ellipse, a convex polygon or a blob somewhere in a square.

    Args:
        rng: draws centre, form and direction.
        side: of the square in pixels.
        area: in pixels; soft edges and loose ends take some of it, all of it where the outline is a thread.

    Returns:
        int32 (side, side): 0 outside, 3 and 6 on an edge two pixels wide, 9 inside; one 8-connected piece.
    """
    distance = _distance(rng, side, area).ravel()
    inside = (distance <= np.partition(distance, area - 1)[area - 1]).reshape(side, side)
    core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
    weights = cv2.boxFilter(core, cv2.CV_32S, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT) // 3 * 3
    _, labels, stats, _ = cv2.connectedComponentsWithStats((weights > 0).astype(np.uint8), connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if len(stats) > 1 else -1
    kept: NDArray[np.int32] = np.where(labels == largest, weights, 0).astype(np.int32)
    return kept


def filling(rng: np.random.Generator, donor: Image, side: int) -> Image:
    """Draw what an object is made of: a piece of another picture, one colour, or a colour with grain.

    Args:
        rng: draws which.
        donor: the other picture, at least ``side`` pixels a side.
        side: of the filling.

    Returns:
        uint8 (side, side, 3).
    """
    form = rng.integers(3)
    if form == 0:
        top, left = (int(rng.integers(length - side + 1)) for length in donor.shape[:2])
        return donor[top : top + side, left : left + side]
    colour = np.broadcast_to(rng.integers(0, 256, 3), (side, side, 3))
    if form == 1:
        return colour.astype(np.uint8)
    grain = smooth(rng, side, CELLS[rng.integers(len(CELLS))]) - 128
    strength = rng.integers(24, 97)
    return (colour + (grain * strength // 64)[:, :, None]).clip(0, 255).astype(np.uint8)


def recoloured(rng: np.random.Generator, picture: Image) -> Image:
    """Give a picture other colours and keep its texture: channels scaled and raised, all alike or not, or exchanged.

    Args:
        rng: draws how.
        picture: uint8 (height, width, 3).

    Returns:
        uint8 of that shape.
    """
    order = rng.permutation(3) if rng.integers(2) else np.arange(3)
    alike = 1 if rng.integers(2) else 3
    gains, offsets = rng.integers(9, 25, alike), rng.integers(-24, 49, alike)
    return (picture[:, :, order].astype(np.int64) * gains // 16 + offsets).clip(0, 255).astype(np.uint8)


def smooth(rng: np.random.Generator, side: int, cell: int) -> Field:
    """Draw smooth noise: random values every ``cell`` pixels, and bilinear between them.

    Returns:
        int64 (side, side), 0 .. 255.
    """
    grid = rng.integers(0, 256, (side // cell + 2, side // cell + 2))
    place, step = np.divmod(np.arange(side), cell)
    rows = grid[place] * (cell - step)[:, None] + grid[place + 1] * step[:, None]
    mixed: Field = (rows[:, place] * (cell - step) + rows[:, place + 1] * step) // (cell * cell)
    return mixed


def _distance(rng: np.random.Generator, side: int, area: int) -> Field:
    """Return a field that grows away from a centre; the pixels where it is small are an object."""
    down, right = rng.integers(0, side, 2)
    rows, columns = np.arange(side)[:, None] - down, np.arange(side) - right
    form = rng.integers(3)
    if form == 0:
        corners = rng.integers(-32, 33, (int(rng.integers(3, 7)), 2))
        distances = [(rows * y + columns * x) * 64 // (1 + abs(y) + abs(x)) for y, x in corners.tolist()]
        angular: Field = np.maximum.reduce([*distances, (abs(rows) + abs(columns)) * 8])
        return angular
    y, x = (rng.integers(-16, 17, 2) | 1).tolist()
    long, short = (1, int(rng.integers(1, 6))) if form == 1 else (2, int(rng.integers(2, 5)))
    squares: Field = ((rows * y + columns * x) * long) ** 2 + ((rows * x - columns * y) * short) ** 2
    if form == 1:
        return squares
    radius = max(int(area**0.5) // 2, 3)
    scaled: Field = squares * 256 * 3 // (area * (y * y + x * x) * long * short)
    return scaled + 2 * smooth(rng, side, radius)
