import numpy as np
import pytest

from harness.difference import as_planes
from harness.errors import ImageError

RANDOM = np.random.default_rng(0)


def test_every_type_means_the_same_picture() -> None:
    pixels = RANDOM.integers(0, 256, (9, 12, 3), np.uint8)
    expected = pixels / 255
    for picture in (pixels, pixels.astype(np.uint16) * 257, expected, expected.astype(np.float32)):
        planes = as_planes(picture)
        assert planes.dtype == np.float32
        np.testing.assert_allclose(planes, expected, atol=1e-7)


def test_gray_has_three_equal_channels() -> None:
    gray = RANDOM.integers(0, 256, (9, 12), np.uint8)
    assert np.array_equal(as_planes(gray), as_planes(np.repeat(gray[:, :, None], 3, 2)))
    assert np.array_equal(as_planes(gray[:, :, None]), as_planes(gray))
    assert np.array_equal(as_planes(gray > 99), as_planes((gray > 99) * 1.0))


def test_alpha_lies_over_white() -> None:
    rgba = np.zeros((9, 9, 4), np.uint8)
    rgba[:, :, 3] = 51
    np.testing.assert_allclose(as_planes(rgba), 0.8, atol=1e-6)
    np.testing.assert_allclose(as_planes(rgba[:, :, 2:]), 0.8, atol=1e-6)


@pytest.mark.parametrize(
    ("picture", "reason", "words"),
    [
        (np.zeros((9, 9, 5), np.uint8), "unsupported", "1 to 4"),
        (np.zeros(9, np.uint8), "unsupported", "1 to 4"),
        (np.zeros((9, 9), np.int32), "unsupported", "int32"),
        (np.full((9, 9), 1.5), "unsupported", "0, 1"),
        (np.full((9, 9), np.nan), "unsupported", "0, 1"),
        (np.zeros((9, 3, 3), np.uint8), "too_small", "3 x 9"),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray, reason: str, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        as_planes(picture)
    assert caught.value.reason == reason
