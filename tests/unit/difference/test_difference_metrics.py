import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import dice as scipy_dice
from scipy.spatial.distance import jaccard as scipy_jaccard
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.difference import dice, jaccard, mae, mse, psnr, ssim
from harness.difference.metrics import similarity

RANDOM = np.random.default_rng(2)
A = RANDOM.random((40, 53, 3), np.float32)
B = np.clip(A + RANDOM.normal(scale=0.1, size=A.shape), 0, 1).astype(np.float32)


def test_against_scikit_image() -> None:
    assert math.isclose(psnr(A, B), peak_signal_noise_ratio(A, B, data_range=1), rel_tol=1e-5)
    expected, full = structural_similarity(
        A.astype(np.float64),
        B.astype(np.float64),
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(similarity(A, B), full, atol=1e-4)
    inner = np.s_[5:-5, 5:-5]
    assert math.isclose(float(similarity(A, B)[inner].mean()), expected, abs_tol=1e-5)


def test_against_scipy() -> None:
    a, b = A[:, :, :1], B[:, :, :1]
    sets = [np.ravel(planes >= 0.5) for planes in (a, b)]
    assert math.isclose(dice(a, b, hard=True), 1 - scipy_dice(*sets))
    assert math.isclose(jaccard(a, b, hard=True), 1 - scipy_jaccard(*sets))


@given(st.floats(0, 1), st.floats(0, 1))
def test_soft_sets(x: float, y: float) -> None:
    a, b = (np.full((8, 8, 1), value, np.float32) for value in (x, y))
    d, j = dice(a, b), jaccard(a, b)
    assert 0 <= d <= 1 + 1e-6
    assert math.isclose(j, d / (2 - d), abs_tol=1e-6)


def test_equal_images() -> None:
    assert (mae(A, A), mse(A, A), psnr(A, A), ssim(A, A)) == (0, 0, math.inf, 1)
    empty = np.zeros((8, 8, 1), np.float32)
    assert dice(empty, empty) == jaccard(empty, empty) == 1
