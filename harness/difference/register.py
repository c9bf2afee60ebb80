"""Lays a shifted or slightly turned image over another before they are compared; never changes the first one."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from skimage.registration import phase_cross_correlation

from harness.difference.planes import Planes
from harness.difference.postprocess import Mask
from harness.errors import ImageError, problem
from harness.named import Named

CLEAR = 0.5
"""Share of the mean square difference that a shift beyond reach must leave at most, to be one that nobody expects."""

REACH = 2
"""Pixels that bicubic interpolation looks beyond."""


@dataclass(frozen=True)
class Registered:
    """An image laid over another.

    Attributes:
        planes: float32 (H, W, 3) in [0, 1], as the first image lies.
        known: which of its pixels come from within the image, REACH from its border; a map is 0 elsewhere.
        matrix: float64 (2, 3): where a pixel (x, y, 1) of the first image lies in the second, in pixels.
    """

    planes: Planes
    known: Mask
    matrix: NDArray[np.float64]


class Registration(Named):
    """One way; its fields are its parameters."""

    @abstractmethod
    def __call__(self, a: Planes, b: Planes) -> Registered:
        """Return ``b`` laid over ``a``. Raises ImageError ``unregistered`` where nothing is found."""


class Unregistered(Registration):
    """Nothing: the second image as it lies."""

    name = "none"

    def __call__(self, a: Planes, b: Planes) -> Registered:
        """Return the image."""
        return Registered(b, np.ones(b.shape[:2], bool), np.eye(2, 3))


class Phase(Registration):
    """A shift, to a fraction of a pixel, by phase correlation (Guizar-Sicairos et al., Optics Letters 2008).

    One that does not bring the images nearer to each other is not believed: the second stays as it lies.

    Attributes:
        upsample: steps a pixel is divided into.
        reach: largest shift that is believed, as a share of the shorter side.
    """

    name = "phase"
    upsample: PositiveInt = 20
    reach: float = Field(default=0.1, gt=0, le=0.5)

    def __call__(self, a: Planes, b: Planes) -> Registered:
        """Find the shift and undo it, where that helps."""
        grays = _gray(a), _gray(b)
        if np.array_equal(a, b) or not all(map(np.ptp, grays)):
            return Unregistered()(a, b)
        pair = tuple(map(_windowed, grays))
        (down, right), _, _ = phase_cross_correlation(*pair, upsample_factor=self.upsample)  # type: ignore[no-untyped-call]
        laid = _laid_over(b, np.array([[1, 0, -right], [0, 1, -down]], np.float64))
        most = self.reach * min(a.shape[:2])
        far = max(abs(down), abs(right)) > most
        if not _nearer(a, b, laid, CLEAR if far else 1):
            return Unregistered()(a, b)
        if far:
            got, do = f"{right:.1f} right, {down:.1f} down", "Register them otherwise, or not at all"
            raise ImageError("unregistered", problem("phase correlation", f"a shift up to {most:.1f} pixels", got, do))
        return laid


class Ecc(Registration):
    """A motion that maximises the enhanced correlation coefficient (Evangelidis and Psarakis, TPAMI 2008).

    Attributes:
        motion: what is allowed.
        iterations: at most.
    """

    name = "ecc"
    motion: Literal["translation", "euclidean", "affine"] = "affine"
    iterations: PositiveInt = 200

    def __call__(self, a: Planes, b: Planes) -> Registered:
        """Find the motion and undo it."""
        if np.array_equal(a, b):
            return Unregistered()(a, b)
        kind = {
            "translation": cv2.MOTION_TRANSLATION,
            "euclidean": cv2.MOTION_EUCLIDEAN,
            "affine": cv2.MOTION_AFFINE,
        }[self.motion]
        until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, self.iterations, 1e-6)
        start: NDArray[Any] = np.eye(2, 3, dtype=np.float32)
        try:
            _, matrix = cv2.findTransformECC(_gray(a), _gray(b), start, kind, until, np.empty(0), 5)
        except cv2.error as error:
            do = "Register by phase correlation, or not at all"
            raise ImageError("unregistered", problem("ECC", "a motion", "none that converges", do)) from error
        return _laid_over(b, np.asarray(matrix, np.float64))


REGISTRATIONS: dict[str, type[Registration]] = {kind.name: kind for kind in (Unregistered, Phase, Ecc)}
"""Registrations by name; a new one is a class and its entry here."""


def _nearer(a: Planes, b: Planes, laid: Registered, share: float) -> bool:
    """Whether a motion leaves less than a share of the mean square difference, of the images and of blurred ones.

    Interpolation takes noise away and so brings any two images nearer to each other; a blur has taken it already.
    """

    def blurred(planes: Planes) -> Planes:
        return np.asarray(cv2.GaussianBlur(planes, (0, 0), 1.0), np.float32)

    pairs = ((a, b, laid.planes), tuple(map(blurred, (a, b, laid.planes))))
    return all(
        _apart(first, moved, laid.known) < share * _apart(first, second, laid.known) for first, second, moved in pairs
    )


def _apart(a: Planes, b: Planes, known: Mask) -> float:
    """Return the mean square difference where both are known; infinite where that is nowhere."""
    return float(np.square(a[known] - b[known]).mean()) if known.any() else math.inf


def _gray(planes: Planes) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_RGB2GRAY), np.float32)


def _windowed(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fade out towards the borders, which do not move with the picture and would pull the shift to zero."""
    height, width = gray.shape
    return np.asarray((gray - gray.mean()) * cv2.createHanningWindow((width, height), cv2.CV_32F), np.float32)


def _laid_over(planes: Planes, matrix: NDArray[np.float64]) -> Registered:
    """Take every pixel from where ``matrix`` says it lies; bicubic, cut to [0, 1]."""
    size, flags = planes.shape[1::-1], cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(planes, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = np.pad(np.ones([length - 2 * REACH for length in planes.shape[:2]], np.uint8), REACH)
    known = cv2.warpAffine(inside, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return Registered(np.clip(moved, 0, 1), np.asarray(known, bool), matrix)
