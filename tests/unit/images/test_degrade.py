import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.ndimage import gaussian_filter
from scipy.stats import kurtosis

from harness.errors import ImageError, SuiteError
from harness.images import DEGRADATIONS, Harmonise, parse_degradation

IMAGE = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def degraded(value: object) -> np.ndarray:
    return parse_degradation(value)(IMAGE, 0)


def test_none_and_png_keep_every_pixel() -> None:
    np.testing.assert_array_equal(degraded("none"), IMAGE)
    np.testing.assert_array_equal(degraded("png"), IMAGE)


def test_jpeg_is_pillows() -> None:
    buffer = io.BytesIO()
    PILImage.fromarray(IMAGE).save(buffer, "JPEG", quality=65, subsampling="4:2:0")
    np.testing.assert_array_equal(degraded("jpeg quality=65"), np.asarray(PILImage.open(buffer)))


@pytest.mark.parametrize("sigma", [0.5, 1, 3, 5])
def test_blur_is_scipys_gaussian(sigma: float) -> None:
    wanted = gaussian_filter(IMAGE.astype(np.float64), (sigma, sigma, 0), truncate=4.0, mode="mirror")
    assert np.abs(degraded({"blur": {"sigma": sigma}}) - wanted).max() <= 0.51


@pytest.mark.parametrize("sigma", [1.5, 8.0, 20.0])
def test_noise_is_gaussian_of_so_many_grey_levels(sigma: float) -> None:
    grey = np.full((200, 210, 3), 128, np.uint8)
    noise = parse_degradation(f"noise sigma={sigma}")(grey, 3).astype(np.float64) - 128
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(noise.size) + 1e-3
    assert noise.std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.02)  # rounding adds a twelfth
    assert abs(np.corrcoef(noise.reshape(-1, 3), rowvar=False) - np.eye(3)).max() < 0.02
    assert kurtosis(noise, axis=None) == pytest.approx(0, abs=0.1)


def test_noise_follows_from_the_seed_alone() -> None:
    noise = parse_degradation("noise sigma=5")
    np.testing.assert_array_equal(noise(IMAGE, 1), noise(IMAGE, 1))
    assert (noise(IMAGE, 1) != noise(IMAGE, 2)).mean() > 0.5
    np.testing.assert_array_equal(parse_degradation("noise sigma=0.01")(IMAGE, 1), IMAGE)


def test_noise_is_clipped_not_wrapped() -> None:
    noise = parse_degradation("noise sigma=4")
    for level, within in ((0, range(30)), (255, range(225, 256))):
        made = noise(np.full((64, 64, 3), level, np.uint8), 0)
        assert made.dtype == np.uint8
        assert set(np.unique(made)) <= set(within)
        assert (made == level).mean() == pytest.approx(0.55, abs=0.03)  # P(z < 0.125)


def test_downsample_keeps_aspect_and_may_come_back() -> None:
    assert degraded("downsample size=20").shape == (20, 28, 3)
    assert degraded("downsample size=20 back=true").shape == IMAGE.shape
    np.testing.assert_array_equal(degraded("downsample size=40"), IMAGE)


def test_shift_moves_whole_pixels() -> None:
    moved = degraded("shift dx=3 dy=-2")
    np.testing.assert_array_equal(moved[:-2, 3:], IMAGE[2:, :-3])
    np.testing.assert_array_equal(degraded("shift dx=3 dy=-2 border=wrap"), np.roll(IMAGE, (-2, 3), (0, 1)))


def test_crop_is_square_and_never_pads() -> None:
    np.testing.assert_array_equal(degraded("crop size=16 position=top_left"), IMAGE[:16, :16])
    np.testing.assert_array_equal(degraded("crop size=16"), IMAGE[12:28, 20:36])
    with pytest.raises(ImageError) as caught:
        degraded("crop size=41")
    assert caught.value.reason == "too_small"


def test_pad_surrounds_what_is_smaller_and_leaves_the_rest() -> None:
    padded = degraded("pad size=45")
    assert padded.shape == (45, 56, 3)
    np.testing.assert_array_equal(padded[2:42], IMAGE)
    assert not padded[:2].any()
    assert not padded[42:].any()
    np.testing.assert_array_equal(degraded("pad size=40"), IMAGE)


def test_a_chain_goes_in_order() -> None:
    chain = [{"downsample": {"size": 20}}, {"jpeg": {"quality": 50}}]
    np.testing.assert_array_equal(degraded(chain), parse_degradation(chain[1])(degraded(chain[0]), 0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("jpg quality=5", "Did you mean 'jpeg'"),
        ("jpeg qualty=5", "Did you mean 'quality'"),
        ("jpeg", "quality: expected a value, got nothing. Write jpeg quality=VALUE"),
        ("jpeg quality=0", "quality"),
        ("jpeg 65", "key=value"),
        ({"jpeg": {"quality": "65"}}, "quality"),
        ({"jpeg": 65}, "parameters"),
        ({"blur": {"sigma": -1}}, "sigma"),
        ("noise", "sigma"),
        ("noise sigma=0", "sigma"),
        ([], "a list"),
        ({}, "a list"),
        (None, "a list"),
        ("none x=1", "takes none"),
    ],
)
def test_what_is_no_degradation_says_why(value: object, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_degradation(value)


OPERATIONS = st.one_of(
    st.just("none"),
    st.builds(
        lambda q, s: {"jpeg": {"quality": q, "subsampling": s}},
        st.integers(1, 100),
        st.sampled_from(["4:4:4", "4:2:0"]),
    ),
    st.builds(lambda s: {"blur": {"sigma": s}}, st.floats(0.01, 50)),
    st.builds(lambda s: {"noise": {"sigma": s}}, st.floats(0.01, 50)),
    st.builds(lambda s, b: {"downsample": {"size": s, "back": b}}, st.integers(1, 500), st.booleans()),
    st.builds(lambda x, y: {"shift": {"dx": x, "dy": y}}, st.integers(-64, 64), st.integers(-64, 64)),
)


@given(st.lists(OPERATIONS, min_size=1, max_size=3))
def test_an_id_reads_back_as_itself(parts: list[object]) -> None:
    made = parse_degradation(parts)
    again = parse_degradation(made.id)
    assert again == made
    assert again.id == made.id


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_every_operation_says_what_it_is(name: str) -> None:
    assert DEGRADATIONS[name].__doc__
    assert DEGRADATIONS[name].name == name


def test_harmonise_is_a_chain() -> None:
    assert Harmonise(codec="jpeg", quality=96, size=16).id == (
        "crop size=16 position=centre + jpeg quality=96 subsampling=4:2:0"
    )
    assert Harmonise(codec="png").id == "png"
    with pytest.raises(ValueError, match="quality"):
        Harmonise(codec="jpeg")
