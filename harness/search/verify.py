"""Whether a found image is one: as 8 bits, written as PNG, read back, and both endpoints asked again, one at a time."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from harness.images import decode
from harness.search.hunts import Pair
from harness.search.oracle import to_lattice
from harness.search.requests import Floats, Pixels

Outcome = Literal["found", "lost_on_rounding", "lost_on_reserving"]


@dataclass(frozen=True)
class Verified:
    """A kept image after it was written and read.

    Attributes:
        outcome: ``found`` where both still decide differently; ``lost_on_rounding`` where they no longer do once the
            image has 8 bits, asked as the search asked; ``lost_on_reserving`` where they did so, but not from the file
            at batch 1.
        pixels: uint8 (height, width, 3).
        png: the file.
        white, black: logits of the file at batch 1, float32 (classes,).
    """

    outcome: Outcome
    pixels: NDArray[np.uint8]
    png: bytes
    white: Floats
    black: Floats

    @property
    def sha256(self) -> str:
        """Digest of the file, hex."""
        return hashlib.sha256(self.png).hexdigest()


def verify(pair: Pair, kept: Pixels) -> Verified:
    """Write an image, read it back, and ask both models again.

    Raises:
        EndpointError: no usable answer.
    """
    pixels = to_lattice(kept)
    png = to_png(pixels)
    back = decode(png)
    white, black = (oracle.logits([back], 1)[0] for oracle in (pair.white, pair.black))
    outcome: Outcome = "found"
    if white.argmax() == black.argmax():
        outcome = "lost_on_reserving" if _differ_in_a_batch(pair, pixels) else "lost_on_rounding"
    return Verified(outcome, pixels, png, white, black)


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an RGB image as a PNG file."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def _differ_in_a_batch(pair: Pair, pixels: NDArray[np.uint8]) -> bool:
    """Whether both decide differently in a batch of the size that searches ask in."""
    white, black = (
        oracle.logits([pixels] * oracle.model.backend.options.batch)[0].argmax() for oracle in (pair.white, pair.black)
    )
    return bool(white != black)
