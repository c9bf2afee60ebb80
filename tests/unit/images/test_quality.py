"""Distances of images against scikit-image and numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.images.quality import Distance, distance


def drawn(seed: int, side: int = 16, spread: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """An image, and the same with noise."""
    random = np.random.default_rng(seed)
    one = random.integers(0, 256, (side, side + 3, 3), np.uint8)
    noise = random.integers(-spread, spread + 1, one.shape)
    return one, np.clip(one + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_scikit_image_and_numpy(seed: int) -> None:
    one, other = drawn(seed)
    found = distance(one, other)
    a, b = one / 255, other / 255
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(one, other, data_range=255))
    assert found.ssim == pytest.approx(structural_similarity(a, b, channel_axis=2, data_range=1.0))
    channels = [structural_similarity(a[..., k], b[..., k], win_size=7, data_range=1.0) for k in range(3)]
    assert found.ssim == pytest.approx(np.mean(channels))
    assert found.l2 == pytest.approx(np.linalg.norm((a - b).ravel()))
    assert found.linf == pytest.approx(np.linalg.norm(one.astype(int).ravel() - other.ravel(), np.inf))


def test_floats_and_bytes_may_meet() -> None:
    one, other = drawn(0)
    whole = distance(one, other)
    for a, b in ((one / 255, other), (one, other / 255), ((one / 255).astype(np.float32), other)):
        mixed = distance(a, b)
        for name in ("l2", "linf", "psnr", "ssim"):
            assert getattr(mixed, name) == pytest.approx(getattr(whole, name), rel=1e-5)


def test_floats_between_grey_levels_are_not_rounded() -> None:
    one, _ = drawn(0)
    moved = one / 255 * 0.99 + 0.002
    assert distance(moved, one).psnr == pytest.approx(peak_signal_noise_ratio(one / 255, moved, data_range=1.0))
    assert distance(one / 255 + 0.25 / 255, one).linf == pytest.approx(0.25)


def test_equal_images_lie_infinitely_near() -> None:
    one, _ = drawn(0)
    for other in (one, one.copy(), one / 255):
        assert distance(one, other) == Distance(0.0, 0.0, math.inf, 1.0)


def test_one_grey_level_in_one_value() -> None:
    one = np.full((7, 7, 3), 100, np.uint8)
    other = one.copy()
    other[3, 3, 1] += 1
    found = distance(one, other)
    assert found.l2 == pytest.approx(1 / 255)
    assert found.linf == pytest.approx(1)
    assert found.psnr == pytest.approx(20 * math.log10(255) + 10 * math.log10(7 * 7 * 3))


def test_black_and_white_lie_as_far_apart_as_images_can() -> None:
    found = distance(np.zeros((8, 9, 3), np.uint8), np.full((8, 9, 3), 255, np.uint8))
    assert (found.l2, found.linf, found.psnr) == (pytest.approx(math.sqrt(8 * 9 * 3)), 255, pytest.approx(0))
    assert found.ssim == pytest.approx(0, abs=1e-3)


@given(st.integers(0, 10**6), st.integers(7, 12), st.integers(1, 255))
def test_distance_is_symmetric_and_bounded(seed: int, side: int, spread: int) -> None:
    one, other = drawn(seed, side, spread)
    there, back = distance(one, other), distance(other, one)
    for name in ("l2", "linf", "psnr", "ssim"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))
    assert -1 <= there.ssim <= 1
    assert there.psnr >= 0
    assert 0 <= there.linf <= min(spread, 255) + 1e-9
    assert there.linf / 255 <= there.l2 + 1e-12 <= there.linf / 255 * math.sqrt(one.size) + 1e-9
    assert there.psnr == pytest.approx(-20 * math.log10(there.l2 / math.sqrt(one.size)))
