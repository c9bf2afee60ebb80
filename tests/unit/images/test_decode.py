import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from harness.errors import ImageError
from harness.images import decode, sniff

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)


def encoded(picture: PILImage.Image, codec: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, codec, **options)
    return buffer.getvalue()


def rgb(codec: str, **options: object) -> bytes:
    return encoded(PILImage.fromarray(PIXELS), codec, **options)


@pytest.mark.parametrize("codec", ["png", "bmp", "tiff", "webp"])
def test_lossless_files_come_back_to_the_bit(codec: str) -> None:
    data = rgb(codec, **({"lossless": True} if codec == "webp" else {}))
    assert sniff(data).format == codec
    assert (sniff(data).width, sniff(data).height) == (36, 24)
    np.testing.assert_array_equal(decode(data), PIXELS)


def test_grey_palette_and_one_bit_get_three_channels() -> None:
    grey = PILImage.fromarray(PIXELS[..., 0])
    np.testing.assert_array_equal(decode(encoded(grey, "png")), np.repeat(PIXELS[..., :1], 3, axis=2))
    palette = PILImage.fromarray(PIXELS).quantize(16)
    np.testing.assert_array_equal(decode(encoded(palette, "png")), np.asarray(palette.convert("RGB")))
    bits = PILImage.fromarray(PIXELS[..., 0] > 127)
    assert set(np.unique(decode(encoded(bits, "png")))) == {0, 255}


def test_16_bits_are_rounded_not_cut() -> None:
    deep = RNG.integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    wanted = np.rint(deep.astype(np.float64) / 257).astype(np.uint8)
    _, data = cv2.imencode(".png", deep[:, :, ::-1])
    np.testing.assert_array_equal(decode(data.tobytes()), wanted)
    _, grey = cv2.imencode(".png", deep[:, :, 0])
    np.testing.assert_array_equal(decode(grey.tobytes()), np.repeat(wanted[..., :1], 3, axis=2))
    tiff = encoded(PILImage.fromarray(deep[:, :, 0]), "tiff")
    np.testing.assert_array_equal(decode(tiff), np.repeat(wanted[..., :1], 3, axis=2))


def test_alpha_is_laid_over_white() -> None:
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(decode(encoded(PILImage.fromarray(rgba), "png")), PIXELS)
    rgba[..., 3] = 0
    assert (decode(encoded(PILImage.fromarray(rgba), "png")) == 255).all()
    rgba[..., 3] = 128
    wanted = np.rint((PIXELS * 128.0 + 255.0 * 127) / 255)
    np.testing.assert_allclose(decode(encoded(PILImage.fromarray(rgba), "png")), wanted, atol=1)


def test_exif_orientation_is_turned_upright() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = decode(encoded(PILImage.fromarray(PIXELS), "png", exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(PIXELS, -1))


def test_cmyk_jpeg() -> None:
    data = encoded(PILImage.new("CMYK", (8, 8), (255, 0, 0, 0)), "jpeg", quality=100)
    assert np.abs(decode(data).astype(int) - [0, 255, 255]).max() < 6


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 90, 95, 100])
def test_jpeg_quality_is_read_from_the_tables(quality: int) -> None:
    assert sniff(rgb("jpeg", quality=quality)).jpeg_quality == quality


def animated(codec: str) -> bytes:
    frames = [PILImage.fromarray(np.roll(PIXELS, shift, axis=1)) for shift in range(3)]
    return encoded(frames[0], codec, save_all=True, append_images=frames[1:])


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


FLOATS = encoded(PILImage.fromarray(RNG.random((4, 4)).astype(np.float32)), "tiff")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not_an_image"),
        (b"<svg></svg>", "not_an_image"),
        (rgb("png")[:200], "truncated"),
        (rgb("jpeg")[:-200], "truncated"),
        (rgb("png")[:16], "corrupt"),
        (animated("gif"), "animated"),
        (animated("png"), "animated"),
        (animated("webp"), "animated"),
        (animated("tiff"), "animated"),
        (bomb(), "too_large"),
        (FLOATS, "unsupported"),
    ],
)
def test_what_can_not_be_decoded_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert "expected" in str(caught.value)


WHOLE = [rgb("png"), rgb("jpeg"), rgb("webp"), animated("gif"), rgb("tiff"), rgb("bmp")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8), st.data())
def test_damaged_files_decode_or_fail_as_image_errors(
    data: bytes, changes: list[tuple[int, int]], draw: st.DataObject
) -> None:
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    cut = draw.draw(st.integers(0, len(changed)))
    broken = bytes(changed[:cut])
    header = sniff(broken)
    try:
        pixels = decode(broken, max_pixels=1_000_000)
    except ImageError as error:
        assert error.reason
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[0] * pixels.shape[1] == header.width * header.height
