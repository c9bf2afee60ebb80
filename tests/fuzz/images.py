"""Small image files of every container that is read, for damaging."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from harness.errors import ImageError
from harness.images import decode, sniff
from harness.images.decode import MAX_PIXELS
from tests.fuzz.mutators import damaged, with_checksums
from tests.fuzz.watched import Kind

DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (20, 28, 4), dtype=np.uint8)
RGB, RGBA = Image.fromarray(PIXELS[..., :3]), Image.fromarray(PIXELS)
GREY, PALETTE = RGB.convert("L"), RGB.quantize(16)


def encoded(picture: Image.Image, codec: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, codec, **options)
    return buffer.getvalue()


def exif() -> Image.Exif:
    """Return an orientation, a thumbnail's tags and a text."""
    said = Image.Exif()
    said[0x0112], said[0x010E] = 6, "a picture"
    said.get_ifd(0x8769)[0x9003] = "2026:01:31 12:00:00"
    return said


@cache
def wholes() -> Sequence[bytes]:
    """Return the files; all that can be decoded are."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x tiff:Orientation='3'/>", zip=True)
    text.add_text("note", "x" * 200, zip=True)
    deep = DRAW.integers(0, 65536, (12, 12, 4), dtype=np.uint16)
    return (
        encoded(RGB, "png", exif=exif(), pnginfo=text),
        encoded(RGBA, "png"),
        encoded(PALETTE, "png", transparency=3),
        encoded(RGB.convert("1"), "png"),
        *(cv2.imencode(".png", part)[1].tobytes() for part in (deep, deep[..., :3], deep[..., 0])),
        encoded(RGB, "jpeg", exif=exif(), icc_profile=b"profile" * 9, comment=b"said"),
        encoded(RGB, "jpeg", progressive=True, quality=30),
        encoded(GREY, "jpeg", restart_marker_rows=1),
        encoded(RGB.convert("CMYK"), "jpeg"),
        encoded(RGB, "mpo", save_all=True, append_images=[GREY.convert("RGB")]),
        encoded(RGB, "webp", exif=exif()),
        encoded(RGBA, "webp", lossless=True),
        encoded(PALETTE, "gif", transparency=1, comment=b"said"),
        encoded(RGB, "bmp"),
        encoded(PALETTE, "bmp"),
        encoded(RGB, "tiff", exif=exif()),
        encoded(RGB, "tiff", compression="tiff_lzw"),
        encoded(RGB, "tiff", compression="tiff_adobe_deflate"),
        encoded(RGB, "tiff", compression="jpeg"),
        encoded(GREY.convert("1"), "tiff", compression="group4"),
        encoded(Image.fromarray(deep[..., 0]), "tiff"),
        encoded(RGBA, "avif"),
    )


def damage(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Damage a file; a PNG has right checksums every other time."""
    changed = damaged(content, draw, others)
    return with_checksums(changed) if content.startswith(b"\x89PNG") and draw.random() < 0.5 else changed


def read(folder: Path) -> None:
    """Decode a file, and hold what comes of it against what is promised."""
    content = (folder / "image").read_bytes()
    header = sniff(content)
    try:
        pixels = decode(content)
    except ImageError as error:
        assert error.reason.isidentifier()
        raise
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.shape[0] * pixels.shape[1] == header.width * header.height <= MAX_PIXELS


KINDS = (Kind("image", "image", wholes, damage, read),)
