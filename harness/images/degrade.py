"""What happens to an image between its source and a detector: every operation with every parameter stated."""

from __future__ import annotations

import hashlib
import io
from abc import abstractmethod
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol

import cv2
import numpy as np
from PIL import Image as PILImage
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from harness.errors import ImageError, problem
from harness.frozen import Frozen
from harness.images.preprocess import FILTERS, Image, centre_crop, pad_to, resize_shorter
from harness.named import THEN, Named, read_chain

Filter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Quality = Annotated[int, Field(ge=1, le=100)]


class Degradation(Protocol):
    """An image operation with an identity."""

    @property
    def id(self) -> str:
        """The canonical name: every parameter, in the order of the class."""
        ...

    def __call__(self, image: Image, seed: int) -> Image:
        """Return the degraded image, uint8 RGB; the seed matters to random ones alone."""
        ...


class Operation(Named):
    """One operation; its fields are its parameters."""

    @abstractmethod
    def __call__(self, image: Image, seed: int) -> Image:
        """Return the degraded image."""


class Unchanged(Operation):
    """Nothing: the clean condition."""

    name = "none"

    def __call__(self, image: Image, seed: int) -> Image:
        """Return the image."""
        return image


CLEAN = Unchanged.name
"""The condition that every other one is read against."""


class Jpeg(Operation):
    """JPEG round trip by libjpeg-turbo through Pillow: standard tables, baseline, default Huffman codes."""

    name = "jpeg"
    quality: Quality
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"

    def __call__(self, image: Image, seed: int) -> Image:
        """Encode and decode."""
        return _round_trip(image, "JPEG", quality=self.quality, subsampling=self.subsampling, optimize=False)


class Webp(Operation):
    """Lossy WebP round trip by libwebp through Pillow, method 4."""

    name = "webp"
    quality: Quality

    def __call__(self, image: Image, seed: int) -> Image:
        """Encode and decode."""
        return _round_trip(image, "WEBP", quality=self.quality, method=4, lossless=False)


class Png(Operation):
    """PNG round trip: pixels stay, so it only takes part in harmonising."""

    name = "png"

    def __call__(self, image: Image, seed: int) -> Image:
        """Return the image: PNG keeps 8-bit RGB as it is."""
        return image


class Blur(Operation):
    """Gaussian blur in float32, mirrored at the border without repeating it, cut at ``truncate`` sigmas."""

    name = "blur"
    sigma: PositiveFloat
    truncate: PositiveFloat = 4.0

    def __call__(self, image: Image, seed: int) -> Image:
        """Blur every channel."""
        side = 2 * int(self.truncate * self.sigma + 0.5) + 1
        values = cv2.GaussianBlur(
            image.astype(np.float32), (side, side), self.sigma, sigmaY=self.sigma, borderType=cv2.BORDER_REFLECT_101
        )
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class Noise(Operation):
    """Gaussian noise of ``sigma`` grey levels, each pixel and channel its own; rounded, then clipped to 0-255."""

    name = "noise"
    sigma: PositiveFloat

    def __call__(self, image: Image, seed: int) -> Image:
        """Add noise drawn from the seed alone; halves are rounded to the even level."""
        drawn = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
        return np.clip(np.rint(image + np.float32(self.sigma) * drawn), 0, 255).astype(np.uint8)


class Downsample(Operation):
    """Resize so that the shorter side is ``size`` (Pillow, anti-aliased); ``back``: and to the old size again.

    Images that are not larger stay as they are.
    """

    name = "downsample"
    size: PositiveInt
    filter: Filter = "bicubic"
    back: bool = False

    def __call__(self, image: Image, seed: int) -> Image:
        """Shrink, and enlarge where asked."""
        height, width = image.shape[:2]
        if min(height, width) <= self.size:
            return image
        small = resize_shorter(image, self.size, self.filter)
        if not self.back:
            return small
        return np.asarray(PILImage.fromarray(small).resize((width, height), FILTERS[self.filter]))


class Shift(Operation):
    """Move by whole pixels: right by ``dx``, down by ``dy``; what comes in at the border repeats the edge or wraps."""

    name = "shift"
    dx: Annotated[int, Field(ge=-64, le=64)] = 0
    dy: Annotated[int, Field(ge=-64, le=64)] = 0
    border: Literal["edge", "wrap"] = "edge"

    def __call__(self, image: Image, seed: int) -> Image:
        """Move the picture."""
        height, width = image.shape[:2]
        rows, columns = np.arange(height) - self.dy, np.arange(width) - self.dx
        if self.border == "wrap":
            return image[np.ix_(rows % height, columns % width)]
        moved: Image = image[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
        return moved


class Crop(Operation):
    """Keep a square of ``size`` pixels; ImageError ``too_small`` where the image has none."""

    name = "crop"
    size: PositiveInt
    position: Literal["centre", "top_left"] = "centre"

    def __call__(self, image: Image, seed: int) -> Image:
        """Cut the square."""
        if min(image.shape[:2]) < self.size:
            got = f"{image.shape[1]} x {image.shape[0]}"
            raise ImageError("too_small", problem("crop", f"at least {self.size} pixels a side", got, "Crop less"))
        if self.position == "top_left":
            return np.ascontiguousarray(image[: self.size, : self.size])
        return np.ascontiguousarray(centre_crop(image, self.size))


class Pad(Operation):
    """Put black around an image that is smaller than ``size`` pixels a side, evenly."""

    name = "pad"
    size: PositiveInt

    def __call__(self, image: Image, seed: int) -> Image:
        """Return the image in the middle of a larger one."""
        return pad_to(image, self.size)


class Chain:
    """Operations one after the other."""

    def __init__(self, parts: tuple[Degradation, ...]) -> None:
        self.parts = parts

    @property
    def id(self) -> str:
        """The parts' ids, joined."""
        return THEN.join(part.id for part in self.parts)

    def __call__(self, image: Image, seed: int) -> Image:
        """Apply the parts in order; each draws from its own seed."""
        for index, part in enumerate(self.parts):
            image = part(image, seed + index)
        return image

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


class Harmonise(Frozen):
    """Makes both classes alike before anything else: a centre crop, then one codec.

    Attributes:
        codec: ``png`` leaves pixels, ``jpeg`` gives both classes the same quantisation on top of their own.
        quality: of the JPEG.
        size: side of the centre crop; None keeps sizes.
    """

    codec: Literal["png", "jpeg"]
    quality: Quality | None = None
    size: PositiveInt | None = None

    @model_validator(mode="after")
    def _quality_of_jpeg(self) -> Harmonise:
        if (self.codec == "jpeg") != (self.quality is not None):
            raise ValueError("codec jpeg needs a quality, codec png takes none")
        return self

    @property
    def id(self) -> str:
        """Canonical id of the chain that it stands for."""
        parts: list[Operation] = [Crop(size=self.size)] if self.size else []
        parts.append(Jpeg(quality=self.quality) if self.quality else Png())
        return THEN.join(part.id for part in parts)


DEGRADATIONS: dict[str, type[Operation]] = {
    kind.name: kind for kind in (Unchanged, Jpeg, Webp, Png, Blur, Noise, Downsample, Shift, Crop, Pad)
}
"""Operations by name; a new one is a class and its entry here."""


def parse_degradation(value: object) -> Degradation:
    """Read a degradation as suites write it, or a canonical id.

    Args:
        value: ``"none"``, ``"jpeg quality=65"``, ``{"jpeg": {"quality": 65}}``, or a list of them applied in order.

    Raises:
        SuiteError: an unknown name or parameter, or a value out of range.
    """
    parts = read_chain(value, DEGRADATIONS, "degradation", "jpeg quality=65")
    return parts[0] if len(parts) == 1 else Chain(parts)


def degrade(image: Image, degradation: str, seed: int, name: str) -> Image:
    """Return an image under a degradation that draws from a seed, its own id and the image's name.

    Args:
        image: uint8 RGB, (height, width, 3).
        degradation: canonical id.
        seed: the suite's.
        name: the image's, unique in its data.

    Raises:
        ImageError: the operation can't be done to this image.
    """
    drawn = hashlib.sha256(f"{seed}|{name}|{degradation}".encode()).digest()
    return _operation(degradation)(image, int.from_bytes(drawn[:8], "little"))


@lru_cache(maxsize=256)
def _operation(degradation: str) -> Degradation:
    return parse_degradation(degradation)


def _round_trip(image: Image, codec: str, **options: Any) -> Image:
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, codec, **options)
    with PILImage.open(buffer) as decoded:
        return np.asarray(decoded.convert("RGB"))
