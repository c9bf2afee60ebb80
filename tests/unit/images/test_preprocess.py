import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ImageError
from harness.images.preprocess import Preprocess, centre_crop, preprocess, resize_shorter


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_centre_crop_is_square_and_centred(height: int, width: int, side: int) -> None:
    image = np.ones((height, width, 3), np.uint8)
    cut = centre_crop(image, side)
    assert cut.shape == (side, side, 3)
    rows, columns = cut[..., 0].any(axis=1), cut[..., 0].any(axis=0)
    assert rows.sum() == min(height, side)
    assert columns.sum() == min(width, side)
    if height < side:
        assert abs(int(rows.argmax()) - (side - height - int(rows.argmax()))) <= 1


def test_resizing_keeps_the_aspect() -> None:
    assert resize_shorter(np.zeros((30, 60, 3), np.uint8), 15).shape == (15, 30, 3)
    assert resize_shorter(np.zeros((60, 30, 3), np.uint8), 15).shape == (30, 15, 3)


def test_floats_are_scaled_then_normalised() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    spec = Preprocess(dtype="float32", layout="NCHW", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    wanted = ((image / 255.0 - np.array(spec.mean)) / np.array(spec.std)).transpose(2, 0, 1)
    made = preprocess(image, spec)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)
    assert preprocess(image, Preprocess(dtype="float32", range=(-1, 1))).min() >= -1


def test_what_is_smaller_is_padded_or_refused() -> None:
    image = np.full((8, 12, 3), 9, np.uint8)
    assert preprocess(image, Preprocess(crop=10)).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="at least 10 pixels a side, got 12 x 8") as caught:
        preprocess(image, Preprocess(crop=10, pad=False))
    assert caught.value.reason == "too_small"
    assert preprocess(image, Preprocess(crop=8, pad=False)).shape == (8, 8, 3)
    assert preprocess(image, Preprocess(resize=10, crop=10, pad=False)).shape == (10, 10, 3)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="extra"):
        Preprocess.model_validate({"crops": 5})
