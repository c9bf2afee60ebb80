"""Changes a picture in known places: objects that come, go, move or take another colour, each a spot of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.spots.pairs import Pixels
from harness.data.spots.shapes import FULL, filling, outline, recoloured
from harness.errors import ImageError, problem
from harness.images.preprocess import Image

VISIBLE = 6
"""Least mean |a - b| on a spot, in grey levels; fainter changes are drawn again."""

MOST = 0.8
"""Least share of a spot's pixels that differ at all."""

GAP = 4
"""Pixels between two spots, and between a spot and the border."""

STEPS = 14
"""Sizes that an object may have: from 1/500 of the picture, each 5/4 of the one before, to about 1/27."""

OPACITIES = (16, 10, 6, 4)
"""In sixteenths; objects that are seen through are faint."""

LAYOUTS, DRAWS = 20, 50
"""Layouts that are drawn before a picture is given up, and draws of each change in one."""

Kind = Literal["inserted", "removed", "moved", "recoloured"]
KINDS: tuple[Kind, ...] = ("inserted", "removed", "moved", "recoloured")


@dataclass(frozen=True)
class Change:
    """One spot: what is laid over one of the two pictures, and how much of it.

    Attributes:
        on: the picture that it is laid over.
        over: uint8 (side, side, 3).
        weight: int32 (side, side), 0 .. 144 of 144; the spot is where it is not 0.
    """

    on: Literal["a", "b"]
    over: Image
    weight: NDArray[np.int32]

    def paint(self, picture: Image) -> Image:
        """Return the picture with it."""
        whole = FULL * max(OPACITIES)
        weight = self.weight[:, :, None]
        return ((picture * (whole - weight) + self.over * weight + whole // 2) // whole).astype(np.uint8)

    def visible(self, picture: Image) -> bool:
        """Whether it changes the picture enough to be seen: ``VISIBLE`` on average, and most of its pixels."""
        difference = np.abs(self.paint(picture).astype(np.int64) - picture)
        area, touched = np.count_nonzero(self.weight), np.count_nonzero(difference.any(axis=2))
        return bool(difference.sum() >= VISIBLE * 3 * area and touched >= MOST * area)


def plan(rng: np.random.Generator, subset: str) -> tuple[Kind, ...]:
    """Draw which changes a pair of a subset has; what moves leaves two spots, and a pair has one to five."""
    if subset == "same":
        return ()
    if subset == "mixed":
        order = rng.permutation(len(KINDS))
        return tuple(KINDS[place] for place in order[: rng.integers(2, len(KINDS) + 1)])
    (kind,) = (item for item in KINDS if item == subset)
    return (kind,) * int(rng.integers(1, 3 if kind == "moved" else 6))


def spots(kinds: Sequence[Kind]) -> int:
    """Return the number of spots that changes leave."""
    return len(kinds) + kinds.count("moved")


def changed(rng: np.random.Generator, picture: Image, donor: Image, kinds: Sequence[Kind]) -> Pixels:
    """Make a pair of a picture.

    Outside the spots, a and b are the picture to the bit. Spots neither touch each other nor the border, and each is
    one 8-connected piece on which a and b differ by ``VISIBLE`` grey levels on average, or more.

    Args:
        rng: draws outlines, fillings, sizes and places.
        picture: uint8 (side, side, 3).
        donor: another picture, not smaller, of which objects are cut.
        kinds: the changes.

    Raises:
        ImageError: ``no_room``: the changes do not fit.
    """
    for _ in range(LAYOUTS):
        found = _layout(rng, picture, donor, kinds)
        if found is not None:
            break
    else:
        got = f"no room in {len(picture)} x {len(picture)}"
        raise ImageError("no_room", problem("pair", f"{spots(kinds)} spots", got, "Use larger crops"))
    a = b = picture
    truth = np.zeros(picture.shape[:2], np.int32)
    for number, change in enumerate(found, 1):
        a, b = (change.paint(a), b) if change.on == "a" else (a, change.paint(b))
        truth[change.weight > 0] = number
    return Pixels(a, b, truth)


def _layout(rng: np.random.Generator, picture: Image, donor: Image, kinds: Sequence[Kind]) -> list[Change] | None:
    """Return all spots, or None where one found no place."""
    free = np.zeros(picture.shape[:2], bool)
    free[GAP:-GAP, GAP:-GAP] = True
    found: list[Change] = []
    for kind in kinds:
        made = next(filter(None, (_change(rng, picture, donor, kind, free) for _ in range(DRAWS))), None)
        if made is None:
            return None
        for change in made:
            _take(free, change.weight)
        found += made
    return found


def _change(
    rng: np.random.Generator, picture: Image, donor: Image, kind: Kind, free: NDArray[np.bool_]
) -> list[Change] | None:
    """Draw one change; None where it lies on another one or can't be seen."""
    side = len(picture)
    step = int(rng.integers(STEPS))
    least = side * side // 500
    edge = outline(rng, side, least * 5**step // 4**step)
    if 2 * np.count_nonzero(edge) < least or not free[edge > 0].all():
        return None
    if kind == "recoloured":
        made = [Change("b", recoloured(rng, picture), edge * max(OPACITIES))]
    else:
        weight = edge * OPACITIES[rng.integers(len(OPACITIES))]
        over = filling(rng, donor, side)
        made = [Change("b" if kind == "inserted" else "a", over, weight)]
        if kind == "moved":
            move = _move(rng, edge, free)
            if move is None:
                return None
            made.append(Change("b", np.roll(over, move, (0, 1)), np.roll(weight, move, (0, 1))))
    return made if all(change.visible(picture) for change in made) else None


def _move(rng: np.random.Generator, edge: NDArray[np.int32], free: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Draw a move of an object, down and right, to a free place; None where it lands on something."""
    move = int(rng.integers(len(edge))), int(rng.integers(len(edge)))
    left = free.copy()
    _take(left, edge)
    return move if left[np.roll(edge, move, (0, 1)) > 0].all() else None


def _take(free: NDArray[np.bool_], weight: NDArray[np.int32]) -> None:
    """Mark a spot and its surroundings as taken."""
    free &= cv2.dilate((weight > 0).astype(np.uint8), np.ones((2 * GAP + 1,) * 2, np.uint8)) == 0
