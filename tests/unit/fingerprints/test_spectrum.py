import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.fingerprints.spectrum import (
    FAINT,
    LEVELS,
    Peak,
    lattice,
    logarithmic,
    magnitudes,
    peaks,
    prominence,
    stretched,
)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def grating(x: float, y: float, side: int = 64) -> np.ndarray:
    down, right = np.mgrid[:side, :side]
    return np.cos(2 * np.pi * (x * right + y * down) + 0.3)[None]


def found(picture: np.ndarray, most: int = 8) -> tuple[Peak, ...]:
    return peaks(prominence(magnitudes(picture)), most)


class TestMagnitudes:
    def test_of_one_channel_are_numpys(self) -> None:
        picture = noise(0, 1, 32, 48)
        expected = np.abs(np.fft.fftshift(np.fft.fft2(picture[0] - picture[0].mean())))
        assert magnitudes(picture) == pytest.approx(expected)

    def test_channels_are_averaged_after_their_phase_is_gone(self) -> None:
        picture = noise(1, 1, 32, 32)
        assert magnitudes(np.concatenate([picture, -picture])) == pytest.approx(magnitudes(picture))

    def test_the_mean_of_each_channel_is_removed(self) -> None:
        picture = noise(2, 3, 16, 16)
        lifted = picture + np.array([1.0, -5.0, 100.0])[:, None, None]
        assert magnitudes(lifted) == pytest.approx(magnitudes(picture), abs=1e-9)
        assert magnitudes(picture)[8, 8] == pytest.approx(0, abs=1e-9)


class TestPeaks:
    @pytest.mark.parametrize(
        ("x", "y", "said"),
        [
            (0.25, 0.125, (0.25, 0.125)),
            (0.25, -0.125, (0.25, -0.125)),
            (-0.25, 0.125, (0.25, -0.125)),
            (0.0, -0.25, (0.0, 0.25)),
            (0.5, -0.25, (0.5, 0.25)),
            (-0.25, 0.5, (0.25, 0.5)),
            (0.5, 0.5, (0.5, 0.5)),
            (3 / 64, 17 / 64, (3 / 64, 17 / 64)),
        ],
    )
    def test_a_grating_in_noise_is_one_peak_at_its_frequency(
        self, x: float, y: float, said: tuple[float, float]
    ) -> None:
        (peak,) = found(grating(x, y) + 0.3 * noise(3, 1, 64, 64))
        assert (peak.x, peak.y) == pytest.approx(said)
        assert peak.ratio > 2 * FAINT

    def test_a_pure_grating_has_a_finite_one(self) -> None:
        (peak,) = found(grating(0.25, 0.0))
        assert (peak.x, peak.y) == (0.25, 0.0)
        assert np.isfinite(peak.ratio)

    def test_strongest_first_and_no_more_than_asked(self) -> None:
        picture = grating(0.25, 0.125) + 0.5 * grating(0.375, -0.25) + 0.1 * noise(4, 1, 64, 64)
        both = found(picture)
        assert [(peak.x, peak.y) for peak in both] == [(0.25, 0.125), (0.375, -0.25)]
        assert both[0].ratio == pytest.approx(2 * both[1].ratio, rel=0.5)
        assert found(picture, 1) == both[:1]

    def test_the_ratio_is_over_the_median_around(self) -> None:
        magnitude = np.ones((32, 32))
        magnitude[20, 20] = magnitude[12, 12] = 9.0
        assert peaks(prominence(magnitude), 4) == (Peak(0.125, 0.125, 9.0),)

    def test_white_noise_and_a_constant_have_none(self) -> None:
        assert sum(len(found(noise(seed, 3, 64, 64))) for seed in range(10)) == 0
        assert found(np.full((3, 32, 32), 0.7)) == ()

    @settings(max_examples=15)
    @given(st.integers(0, 100), st.floats(0.01, 100))
    def test_they_do_not_depend_on_scale(self, seed: int, scale: float) -> None:
        picture = grating(0.25, 0.125, 32) + noise(seed, 1, 32, 32)
        plain, scaled = found(picture), found(scale * picture)
        assert [(peak.x, peak.y) for peak in plain] == [(peak.x, peak.y) for peak in scaled]
        assert [peak.ratio for peak in plain] == pytest.approx([peak.ratio for peak in scaled])


class TestLattice:
    def test_each_bin_once_by_its_coarsest(self) -> None:
        levels = lattice((64, 64))
        assert levels[32, 32] == 0
        assert [int((levels == level).sum()) for level in LEVELS] == [3, 12, 48, 192]

    def test_it_is_where_repeated_pixels_put_their_energy(self) -> None:
        rng = np.random.default_rng(5)
        for level in LEVELS:
            tiled = np.tile(rng.normal(0, 1, (level, level)), (64 // level, 64 // level))
            energy = magnitudes(tiled[None])
            held = (lattice((64, 64)) > 0) & (lattice((64, 64)) <= level)
            assert energy[~held].max() < 1e-9 * energy[held].max()


class TestForTheEye:
    def test_stretching_puts_percentiles_at_the_ends(self) -> None:
        values = np.arange(101.0)
        assert stretched(values, 10, 90) == pytest.approx(np.clip((values - 10) / 80, 0, 1))
        assert (stretched(np.full(5, 3.0)) == 0).all()

    def test_logarithms_keep_order_and_stay_within_bounds(self) -> None:
        magnitude = magnitudes(noise(6, 3, 32, 32))
        shown = logarithmic(magnitude, 0, 100)
        assert (shown.min(), shown.max()) == (0, 1)
        assert shown.max() == shown[magnitude == magnitude.max()].min()
        assert (np.diff(shown.ravel()[magnitude.ravel().argsort()]) >= 0).all()
        assert logarithmic(magnitude, 0, 100, power=4) == pytest.approx(shown**4)

    def test_nothing_is_shown_of_nothing(self) -> None:
        assert (logarithmic(np.zeros((8, 8))) == 0).all()
