"""From a file's bytes to uint8 RGB pixels, with a defined outcome for everything that is not a plain image."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps

from harness.errors import ImageError, problem
from harness.images.preprocess import Image
from harness.images.sniff import Header, sniff

MAX_PIXELS = 80_000_000
"""Larger images are refused from their header; below the size at which Pillow itself starts to warn."""

BLOCK = 1 << 22
"""Numbers that are widened at once."""

READERS = ("png", "jpeg", "webp", "gif", "bmp", "tiff", "avif")
"""Containers that are read, each by its own decoder alone."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the picture in a file as uint8 RGB, (height, width, 3).

    ==========================  =====================================================================
    input                       outcome
    ==========================  =====================================================================
    8-bit RGB, JPEG or PNG      its pixels, as Pillow reads them; ICC profiles are ignored
    grey, 1-bit, palette        three channels
    16 bits a channel           divided by 257 and rounded
    alpha, transparent palette  laid over white
    CMYK, YCCK                  Pillow's plain conversion; Adobe's inverted inks are turned
    EXIF orientation            turned upright
    several pictures in JPEG    the first one (MPO, as phones write it)
    no bytes                    ImageError ``empty``
    no image                    ImageError ``not_an_image``
    cut off                     ImageError ``truncated``
    damaged                     ImageError ``corrupt``
    animated, several pages     ImageError ``animated``
    more than max_pixels        ImageError ``too_large``, before any pixel is allocated
    floats, 32-bit ints, HEIF   ImageError ``unsupported``
    ==========================  =====================================================================

    Args:
        data: the whole file.
        max_pixels: bound on width x height.

    Raises:
        ImageError: see the table.
    """
    if not data:
        raise ImageError("empty", problem("image", "a file with content", "0 bytes", "Fetch the file again"))
    header = sniff(data)
    if header.format == "unknown":
        raise ImageError("not_an_image", problem("image", "an image file", repr(data[:8]), "Remove it from the data"))
    if header.format not in READERS:
        raise ImageError("unsupported", problem("image", ", ".join(READERS), header.format, "Convert it"))
    if header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height}"
        raise ImageError("too_large", problem("image", f"at most {max_pixels:,} pixels", size, "Shrink the image"))
    if header.width == 0 or header.height == 0:
        raise ImageError("corrupt", problem("image", "a header with a size", "none", "Fetch the file again"))
    try:
        return _deep(data) if header.format == "png" and header.depth == 16 else _pillow(data, header)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(
            "too_large", problem("image", "one that fits in memory", "more", "Shrink the image")
        ) from error
    except Exception as error:
        text = str(error).lower()
        reason = "truncated" if "truncated" in text or "broken" in text or isinstance(error, EOFError) else "corrupt"
        raise ImageError(
            reason, problem("image", "a whole file", f"{reason} data ({error})", "Fetch it again")
        ) from error


def _pillow(data: bytes, header: Header) -> Image:
    with PILImage.open(io.BytesIO(data), formats=[header.format.upper()]) as picture:
        frames: int = getattr(picture, "n_frames", 1)
        if picture.format != "MPO" and frames > 1:
            raise ImageError("animated", problem("image", "one picture", str(frames), "Take one frame of it"))
        if picture.width * picture.height != header.width * header.height:
            raise ImageError("corrupt", problem("image", "one size", "two in its headers", "Fetch the file again"))
        if picture.mode in ("F", "I"):
            raise ImageError("unsupported", problem("image", "8 or 16 bits", f"mode {picture.mode}", "Convert it"))
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I;16"):
            return _rgb(_by_rows(_to_8_bits, np.asarray(upright).astype(np.uint16, copy=False)))
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            return _by_rows(_over_white, np.asarray(upright.convert("RGBA")))
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _deep(data: bytes) -> Image:
    """Read a PNG of 16 bits a channel; Pillow would drop the low byte instead of rounding."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError("corrupt", problem("image", "16 bits a channel", "unreadable data", "Fetch the file again"))
    rounded = _by_rows(_to_8_bits, np.asarray(pixels, np.uint16))
    if rounded.ndim == 3 and rounded.shape[2] == 4:
        return _by_rows(_over_white, rounded[:, :, [2, 1, 0, 3]])
    return _rgb(rounded) if rounded.ndim == 2 else np.ascontiguousarray(rounded[:, :, ::-1])


def _by_rows(change: Callable[[NDArray[Any]], Image], pixels: NDArray[Any]) -> Image:
    """Apply what changes each pixel by itself to some rows at a time, so that its wider numbers take little memory."""
    step = max(1, BLOCK // max(1, pixels[0].size))
    parts = (change(pixels[start : start + step]) for start in range(0, len(pixels), step))
    first = next(parts)
    if len(first) == len(pixels):
        return first
    whole = np.empty((len(pixels), *first.shape[1:]), np.uint8)
    for place, part in enumerate(itertools.chain((first,), parts)):
        whole[place * step : (place + 1) * step] = part
    return whole


def _to_8_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _rgb(grey: NDArray[np.uint8]) -> Image:
    return np.ascontiguousarray(np.broadcast_to(grey[:, :, None], (*grey.shape, 3)))


def _over_white(rgba: NDArray[np.uint8]) -> Image:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(rgba[:, :, :3])
    mixed = rgba[:, :, :3].astype(np.uint16) * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
