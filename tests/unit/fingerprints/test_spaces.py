import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CardError
from harness.fingerprints.pixels import content_hashes
from harness.fingerprints.spaces import EPSILON, Features, Images, amplitudes, features, frequency, rgb


def images(count: int, height: int = 12, width: int = 9, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def test_rgb_is_pixels_over_255_channels_first() -> None:
    found = rgb(images(3))
    assert found.dtype == np.float32 and found.shape == (3, 3, 12, 9)
    assert found[1, 2, 5, 7] == np.float32(images(3)[1, 5, 7, 2]) / np.float32(255)


def test_frequency_is_each_channels_own_transform() -> None:
    found = frequency(images(2))
    for place, channel in ((0, 0), (1, 2)):
        transform = np.fft.fftshift(np.fft.fft2(images(2)[place, :, :, channel] / 255.0))
        np.testing.assert_allclose(found[place, channel], np.log(np.abs(transform) + EPSILON), atol=1e-4)


def test_a_flat_image_has_its_mean_at_the_centre_and_epsilon_elsewhere() -> None:
    flat = amplitudes(np.full((1, 8, 6), 0.5, np.float32))[0]
    assert flat[4, 3] == pytest.approx(24 + EPSILON)
    flat[4, 3] = EPSILON
    np.testing.assert_allclose(flat, EPSILON, atol=1e-6)


def test_an_embedding_is_what_the_embedder_says_and_needs_one() -> None:
    def embed(asked: Images) -> Features:
        return asked.reshape(len(asked), -1)[:, :4].astype(np.float32)

    assert (features("embedding", images(2), embed) == embed(images(2))).all()
    with pytest.raises(CardError, match="expected an embedder, got none"):
        features("embedding", images(2))


@given(st.integers(1, 5), st.integers(0, 4))
def test_features_do_not_depend_on_the_batch(count: int, seed: int) -> None:
    asked = images(count, seed=seed)
    for space in ("rgb", "frequency"):
        alone = np.concatenate([features(space, image[None]) for image in asked])
        assert (features(space, asked) == alone).all()


def test_hashes_tell_pixels_and_sizes_apart() -> None:
    asked = images(4)
    other = asked.copy()
    other[2, 0, 0, 0] ^= 1
    assert (content_hashes(asked) == content_hashes(asked.copy())).all()
    assert (content_hashes(asked) == content_hashes(other)).tolist() == [True, True, False, True]
    flat = np.zeros((1, 4, 6, 3), np.uint8)
    assert content_hashes(flat) != content_hashes(flat.reshape(1, 6, 4, 3))
