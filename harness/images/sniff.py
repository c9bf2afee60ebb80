"""What a file says of itself in its first bytes: container, size, JPEG quality. Never trusts a name, never decodes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Header:
    """What the bytes say.

    Attributes:
        format: ``png``, ``jpeg``, ``webp``, ``gif``, ``bmp``, ``tiff``, ``avif``, ``heif``, or ``unknown``.
        width, height: pixels as stored, before any EXIF rotation; 0 where the header does not tell.
        jpeg_quality: the libjpeg quality (1..100) whose luminance table is nearest; None for other formats.
        depth: bits a channel; 0 where the header does not tell.
    """

    format: str = "unknown"
    width: int = 0
    height: int = 0
    jpeg_quality: int | None = None
    depth: int = 0


def sniff(data: bytes) -> Header:
    """Read a file's header; garbage gives ``unknown`` and never raises.

    Args:
        data: the file, or enough of its beginning to hold the header.
    """
    try:
        return _sniff(data)
    except (struct.error, IndexError, ValueError):
        return Header(_container(data))


def _container(data: bytes) -> str:
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        brands = data[8 : max(16, min(struct.unpack(">I", data[:4])[0], 64))]
        return "avif" if b"avi" in brands else "heif" if b"mif1" in brands or b"hei" in brands else "unknown"
    return "unknown"


_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
}


def _sniff(data: bytes) -> Header:
    name = _container(data)
    match name:
        case "png":
            width, height, depth = struct.unpack(">IIB", data[16:25])
            return Header(name, width, height, depth=depth)
        case "jpeg":
            return _jpeg(data)
        case "gif":
            width, height = struct.unpack("<HH", data[6:10])
            return Header(name, width, height, depth=8)
        case "bmp":
            width, height = struct.unpack("<ii", data[18:26])
            return Header(name, abs(width), abs(height), depth=8)
        case "webp":
            return Header(name, *_webp(data), depth=8)
        case "tiff":
            return _tiff(data)
        case "avif" | "heif":
            place = data.find(b"ispe")
            width, height = struct.unpack(">II", data[place + 8 : place + 16]) if place > 0 else (0, 0)
            return Header(name, width, height)
        case _:
            return Header()


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack(order + "I", data[4:8])
    (entries,) = struct.unpack(order + "H", data[place : place + 2])
    said = {}
    for index in range(min(entries, 64)):
        entry = data[place + 2 + 12 * index : place + 14 + 12 * index]
        tag, kind, count = struct.unpack(order + "HHI", entry[:8])
        if tag in (256, 257, 258) and kind in (3, 4):
            wide = count * (2 if kind == 3 else 4) > 4
            field = entry[8:12] if not wide else data[(at := struct.unpack(order + "I", entry[8:12])[0]) : at + 4]
            said[tag] = struct.unpack(order + ("H" if kind == 3 else "I"), field[: 2 if kind == 3 else 4])[0]
    return Header("tiff", said.get(256, 0), said.get(257, 0), depth=said.get(258, 0))


def _jpeg(data: bytes) -> Header:
    place, quality = 2, None
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            place += 2
            continue
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        body = data[place + 4 : place + 2 + length]
        if marker == 0xDB and quality is None:
            quality = _quality(body)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            depth, height, width = struct.unpack(">BHH", body[:5])
            return Header("jpeg", width, height, quality, depth)
        place += 2 + length
    return Header("jpeg", jpeg_quality=quality)


def _quality(segment: bytes) -> int | None:
    """Return the libjpeg quality nearest to the luminance table of a DQT segment; None where it holds none."""
    place = 0
    while place < len(segment):
        wide, number = segment[place] >> 4, segment[place] & 15
        size = 128 if wide else 64
        table = np.frombuffer(segment[place + 1 : place + 1 + size], ">u2" if wide else "u1").astype(np.int64)
        if number == 0 and len(table) == 64:
            return int(np.abs(_tables() - table).sum(axis=1).argmin()) + 1
        place += 1 + size
    return None


@cache
def _tables() -> NDArray[np.int64]:
    """Return libjpeg's luminance tables of qualities 1..100, (100, 64), in zigzag order."""
    order = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
    base = np.array(_LUMINANCE, np.int64)[order]
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base * scale[:, None] + 50) // 100, 1, 255)


_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU-T T.81, table K.1."""
