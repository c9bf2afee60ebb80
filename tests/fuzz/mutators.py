"""Seeded damage to bytes and to trees of plain values, as a disk, a network or an enemy does it. Opens no file."""

from __future__ import annotations

import copy
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

HEADER = 256
"""Bytes at the start that hold most formats' sizes and counts."""

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**63 - 1, 2**64 - 1)

Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]
"""Damages content; the third argument is other content of its kind."""


def damaged(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Return the content after one to six mutations; now and then nothing is left of it."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        content = draw.choice(MUTATORS)(content, draw, others)
    return content


def flip_bits(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8) if changed else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def set_header(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Write an extreme number of one to eight bytes over a field near the start, in either byte order."""
    size = draw.choice((1, 2, 4, 8))
    value = draw.choice(EXTREMES) & (1 << 8 * size) - 1
    place = draw.randrange(max(1, min(HEADER, len(content))))
    return content[:place] + value.to_bytes(size, draw.choice(("little", "big"))) + content[place + size :]


def set_anywhere(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """The same at any place."""
    place = draw.randrange(max(1, len(content)))
    return content[:place] + set_header(content[place:], draw, others)


def truncate(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    return content[: draw.randint(0, len(content))]


def remove(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Leave a part out."""
    start, end = _part(content, draw)
    return content[:start] + content[end:]


def repeat(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Say a part again, up to 64 times."""
    start, end = _part(content, draw)
    return content[:end] + content[start:end] * draw.choice((1, 2, 64)) + content[end:]


def splice(content: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Put a part of another file in the place of a part of this one."""
    other = draw.choice(others) if others else content
    start, end = _part(content, draw)
    first, last = _part(other, draw)
    return content[:start] + other[first:last] + content[end:]


def _part(content: bytes, draw: Random) -> tuple[int, int]:
    start = draw.randint(0, len(content))
    return start, min(len(content), start + draw.choice((1, 4, 32, 512)))


MUTATORS: tuple[Mutator, ...] = (flip_bits, flip_bits, set_header, set_anywhere, truncate, remove, repeat, splice)


def with_checksums(png: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums of their content, so that damage gets past the first check."""
    done, place = bytearray(png[:8]), 8
    while place + 12 <= len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        body = png[place + 4 : place + 8 + length]
        done += png[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(done)


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 10**25, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "0",
        "none",
        "*",
        "a.b",
        "\n",
        "\x00",
        "é\u202e",
        "../../etc/passwd",
        "/dev/zero",
        "${HOME}",
        "[" * 50,
    ),
    *("x" * 5000, "9" * 5000, "2001-99-99", [], {}, [[]], [None], {"": None}, {"kind": "card"}, {"x": {"x": {}}}),
)
"""Values where a file does not expect them."""


def damaged_tree(tree: Any, draw: Random) -> Any:
    """Return a tree of dicts, lists and scalars after one to four changes: odd values, keys lost, renamed or nested."""
    changed = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 2, 4))):
        changed = _changed(changed, draw)
    return changed


def _changed(tree: Any, draw: Random) -> Any:
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(draw.choice(ODD))
    holder, key = draw.choice(places)
    match draw.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key}{draw.choice('sx_ ')}"] = holder.pop(key)
        case 2:
            other, there = draw.choice(places)
            holder[key] = copy.deepcopy(other[there])
        case 3:
            for _ in range(draw.choice((1, 3, 60))):
                holder[key] = draw.choice(([holder[key]], {"x": holder[key]}))
        case 4 if isinstance(holder, list):
            holder.extend([copy.deepcopy(holder[key])] * draw.choice((1, 20)))
        case _:
            holder[key] = copy.deepcopy(draw.choice(ODD))
    return tree


def _places(tree: Any) -> Any:
    """Yield (holder, key) of everything in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)
