"""Damaged and hostile images end in pixels or in an ImageError, in time and within memory.

``DISCERN_FUZZ=2000`` opens so many of them.
"""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import ImageError
from harness.images import decode
from harness.images.decode import MAX_PIXELS
from tests.fuzz.images import RGB, encoded
from tests.fuzz.watched import watch

COUNT = int(os.environ.get("DISCERN_FUZZ", "100"))

BYTES_A_PIXEL = 24
"""Bound of the memory that decoding takes; so the largest image takes less than 2 GB."""

BLOCKS = 64 << 20
"""What it takes beside that, whatever the image's size."""


def test_damaged_images_end_in_pixels_or_an_image_error() -> None:
    (found,) = watch("tests.fuzz.images", COUNT).values()
    assert not found.findings, "\n".join(found.findings[:3])
    assert set(found.outcomes) == {"read", "ImageError"}
    assert found.outcomes.total() == COUNT


def test_the_watch_sees_what_no_file_may_do() -> None:
    found = watch("tests.fuzz.misbehaving", 1, seconds=2)
    said = {name: watched.findings for name, watched in found.items()}
    assert [len(findings) for findings in said.values()] == [1] * len(said), said
    wanted = {
        "hang": "no end within 2 s",
        "die": "the process died (-11)",
        "grow": "out of memory",
        "execute": "subprocess.Popen",
        "write": "discern-fuzz-must-not-be",
        "fail": "KeyError: 'x'",
    }
    for name, words in wanted.items():
        assert words in said[name][0]
        assert said[name][0].startswith(f"{name}, seed 0: ")


def png(width: int, height: int, depth: int = 8, channels: int = 3) -> bytes:
    """Return a PNG of one colour, a few kilobytes whatever its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, {3: 2, 4: 6}[channels], 0, 0, 0)
    packer, row = zlib.compressobj(1), b"\0" + b"\x40" * (width * channels * depth // 8)
    body = b"".join(packer.compress(row) for _ in range(min(height, 2000))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def lying(codec: str, place: int, form: str, **options: object) -> bytes:
    """Return a file whose header says that it is 65,000 pixels wide and high."""
    content = bytearray(encoded(RGB, codec, **options))
    struct.pack_into(form, content, place, *[65_000] * 2)
    return bytes(content)


JPEG = encoded(RGB, "jpeg")


@pytest.mark.parametrize(
    "bomb",
    [
        png(65_000, 65_000),
        lying("gif", 6, "<HH"),
        lying("bmp", 18, "<ii"),
        lying("jpeg", JPEG.index(b"\xff\xc0") + 5, ">HH"),
        encoded(RGB, "avif").replace(struct.pack(">II", *RGB.size), struct.pack(">II", 65_000, 65_000)),
    ],
    ids=["png", "gif", "bmp", "jpeg", "avif"],
)
def test_a_bomb_is_refused_from_its_header(bomb: bytes) -> None:
    with pytest.raises(ImageError, match=f"at most {MAX_PIXELS:,} pixels") as caught:
        decode(bomb)
    assert caught.value.reason == "too_large"


MEASURE = """
import re, sys
from pathlib import Path
from harness.images import decode

def peak(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

decode(Path(sys.argv[1]).read_bytes())
for name in sys.argv[2:]:
    content, before = Path(name).read_bytes(), peak("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    print(decode(content).size // 3, peak("VmHWM") - before)
"""


def test_the_memory_that_an_image_takes_is_bounded_by_its_pixels(tmp_path: Path) -> None:
    shapes = [(8, 8, 4), (2000, 8, 4), (2000, 16, 4), (2000, 16, 3)]
    names = [tmp_path / f"{side}-{depth}-{channels}.png" for side, depth, channels in shapes]
    for name, (side, depth, channels) in zip(names, shapes, strict=True):
        name.write_bytes(png(side, side, depth, channels))
    said = subprocess.run([sys.executable, "-c", MEASURE, *map(str, names)], capture_output=True, check=True, text=True)
    for line in said.stdout.splitlines():
        pixels, taken = map(int, line.split())
        assert pixels == 4_000_000
        assert taken < BYTES_A_PIXEL * pixels + BLOCKS, f"{taken / pixels:.0f} bytes a pixel"
    assert len(said.stdout.splitlines()) == 3


def test_text_chunks_that_unpack_to_gigabytes_are_not_unpacked() -> None:
    packed = zlib.compress(bytes(1 << 26))
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + packed
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    content = encoded(RGB, "png")
    with pytest.raises(ImageError):
        decode(content[:33] + chunk + content[33:])
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(buffer, "png")
    assert decode(buffer.getvalue()).shape == (2, 2, 3)
