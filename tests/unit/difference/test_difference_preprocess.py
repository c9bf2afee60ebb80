import numpy as np
import pytest
import pywt
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st

from harness.difference.method import parse_preprocess
from harness.errors import SuiteError

RANDOM = np.random.default_rng(1)
PLANES = RANDOM.random((45, 62, 3), np.float32)

sides = st.integers(8, 70)


@given(sides, sides, st.floats(0.05, 0.95), st.floats(0, 1))
def test_low_and_high_make_the_whole(height: int, width: int, cutoff: float, soft: float) -> None:
    planes = PLANES[:height, :width]
    low, high = (parse_preprocess({name: {"cutoff": cutoff, "soft": soft}})(planes) for name in ("lowpass", "highpass"))
    np.testing.assert_allclose(low + high, planes, atol=1e-5)


def test_a_sharp_lowpass_is_a_box_of_cosines() -> None:
    spectrum = scipy.fft.dctn(PLANES.astype(np.float64), axes=(0, 1), norm="ortho")
    rows, columns = (np.arange(length) / length <= 0.3 for length in PLANES.shape[:2])
    spectrum[~np.outer(rows, columns)] = 0
    expected = scipy.fft.idctn(spectrum, axes=(0, 1), norm="ortho")
    found = parse_preprocess("lowpass cutoff=0.3 soft=0")(PLANES)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_soft_mask_rings_less_than_a_sharp_one() -> None:
    step = np.zeros((64, 64, 1), np.float32)
    step[:, 32:] = 1
    sharp, soft = (parse_preprocess({"lowpass": {"cutoff": 0.3, "soft": soft}})(step).max() for soft in (0, 0.6))
    assert sharp > 1.05 > 1.03 > soft


@given(sides, sides, st.sampled_from(["haar", "db2", "sym4", "bior2.2"]), st.integers(1, 9))
def test_bands_make_the_whole(height: int, width: int, basis: str, level: int) -> None:
    planes = PLANES[:height, :width]
    parts = [
        parse_preprocess({"wavelet": {"basis": basis, "level": level, "bands": bands}})(planes)
        for bands in ("approximation", "horizontal", "vertical", "diagonal")
    ]
    np.testing.assert_allclose(sum(parts), planes, atol=1e-4)
    detail = parse_preprocess({"wavelet": {"basis": basis, "level": level, "bands": "detail"}})(planes)
    np.testing.assert_allclose(detail, sum(parts[1:]), atol=1e-4)


def test_wavelet_against_pywavelets() -> None:
    approximation, *details = pywt.wavedec2(PLANES.astype(np.float64), "db2", level=2, axes=(0, 1))
    zeros = [tuple(np.zeros_like(band) for band in bands) for bands in details]
    expected = pywt.waverec2([approximation, *zeros], "db2", axes=(0, 1))[:45, :62]
    np.testing.assert_allclose(parse_preprocess("wavelet")(PLANES), expected, atol=1e-5)


def test_normalize_stretches_and_knows_flat_images() -> None:
    found = parse_preprocess("normalize")(0.3 + 0.1 * PLANES)
    assert (found.min(), found.max()) == (0, 1)
    assert not parse_preprocess("normalize")(np.full((9, 9, 3), 0.4, np.float32)).any()


@pytest.mark.parametrize("words", ["lowpass cutoff=1.5", "wavelet basis=nothing", "sobel", "wavelet level=0"])
def test_what_is_not_known_is_refused(words: str) -> None:
    with pytest.raises(SuiteError, match="pre-processor"):
        parse_preprocess(words)
