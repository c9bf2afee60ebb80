"""Statistics of images against direct computations, pixel by pixel, and against images whose answers are known."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import linregress

from harness.errors import SuiteError
from harness.fingerprints.colour import MARGINS
from harness.fingerprints.representations import REPRESENTATIONS, parse_representation
from harness.fingerprints.spaces import EPSILON, Features, Images
from harness.fingerprints.spectral import ring_means

HEIGHT, WIDTH = 14, 20


@pytest.fixture(scope="module")
def images() -> Images:
    made = np.random.default_rng(3).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
    made[0, :4] = 0
    made[1, :, :5] = 255
    return made


def make(text: str, images: Images) -> Features:
    return parse_representation(text).bind()(images)


def test_rings_average_by_whole_radius() -> None:
    plane = np.random.default_rng(0).normal(size=(1, 7, 10)).astype(np.float32)
    rings: dict[int, list[float]] = {}
    for row in range(7):
        for column in range(10):
            rings.setdefault(int(math.hypot(row - 3, column - 5)), []).append(float(plane[0, row, column]))
    expected = [np.mean(rings[radius]) for radius in sorted(rings)]
    np.testing.assert_allclose(ring_means(plane)[0], expected, atol=1e-6)


def test_spectrum_1d(images: Images) -> None:
    grey = images[2].astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    power = np.log((np.abs(np.fft.fftshift(np.fft.fft2(grey))) + EPSILON) ** 2)
    found = make("spectrum_1d", images)
    assert found.shape == (3, 13) and found.dtype == np.float32
    np.testing.assert_allclose(found[2], ring_means(power[None].astype(np.float32))[0], atol=1e-4)


@pytest.mark.parametrize("start", [0.5, 0.75])
def test_spectrum_decay_is_a_line_in_logarithms(images: Images, start: float) -> None:
    found = make(f"spectrum_decay start={start}", images).reshape(3, 3, 3)
    for place, channel in ((0, 1), (2, 0)):
        plane = np.abs(np.fft.fftshift(np.fft.fft2(images[place, :, :, channel] / 255.0))) + EPSILON
        reduced = np.log(ring_means(plane[None].astype(np.float32))[0].astype(np.float64))
        rings = np.arange(math.ceil(start * 7), 8)
        x, y = np.log(rings / (start * 7)), reduced[rings] - reduced[0]
        line = linregress(x, y)
        left = math.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2))
        np.testing.assert_allclose(found[place, channel], [line.intercept, line.slope, left], atol=1e-3)


def test_spectrum_decay_of_a_picture_that_decays_faster_is_steeper() -> None:
    radius = np.fft.fftfreq(64)[:, None] ** 2 + np.fft.fftfreq(64)[None] ** 2
    noise = np.fft.fft2(np.random.default_rng(0).normal(size=(64, 64)))
    slopes = []
    for power in (0.2, 0.5, 1.0):
        plane = np.fft.ifft2(noise / np.maximum(radius, 1e-4) ** power).real
        scaled = np.uint8(np.clip(128 + 40 * plane / plane.std(), 0, 255))
        slopes.append(make("spectrum_decay start=0.3", np.repeat(scaled[None, :, :, None], 3, axis=3))[0, 1])
    assert slopes == sorted(slopes, reverse=True) and slopes[0] - slopes[2] > 0.5


@pytest.mark.parametrize("bins", [8, 32])
def test_colour_histogram(images: Images, bins: int) -> None:
    found = make(f"colour_histogram bins={bins}", images)
    assert found.shape == (3, bins**2 + 36)
    for place, image in enumerate(images):
        counted: Counter[tuple[int, int]] = Counter()
        for red, green, blue in image.reshape(-1, 3).astype(int).tolist():
            total = red + green + blue
            pair = (red * bins // total, green * bins // total) if total else (bins // 3, bins // 3)
            counted[min(pair[0], bins - 1), min(pair[1], bins - 1)] += 1
        histogram = found[place, : bins**2].reshape(bins, bins) * HEIGHT * WIDTH
        assert {tuple(map(int, at)): round(float(histogram[tuple(at)])) for at in np.argwhere(histogram)} == counted
        exposure = found[place, bins**2 :].reshape(3, 2, len(MARGINS))
        for channel in range(3):
            for index, margin in enumerate(MARGINS):
                plane = image[..., channel]
                expected = [(plane <= margin).mean(), (plane >= 255 - margin).mean()]
                np.testing.assert_allclose(exposure[channel, :, index], expected, atol=1e-6)


@pytest.mark.parametrize("levels", [16, 256])
def test_cooccurrence(images: Images, levels: int) -> None:
    found = make(f"cooccurrence levels={levels}", images)
    assert found.shape == (3, 3, levels, levels)
    np.testing.assert_allclose(found.sum(axis=(2, 3)), 1, rtol=1e-5)
    for channel in range(3):
        counted = np.zeros((levels, levels))
        for row in images[1, :, :, channel].astype(int) * levels // 256:
            for left, right in pairwise(row):
                counted[left, right] += 1
        np.testing.assert_allclose(found[1, channel], counted / counted.sum(), atol=1e-6)


def test_no_batch_is_needed_to_tell_an_image(images: Images) -> None:
    for name in sorted(set(REPRESENTATIONS) - {"artifact"}):
        made = make(name, images)
        np.testing.assert_allclose(made, np.concatenate([make(name, image[None]) for image in images]), rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("artifcat space=rgb", "Did you mean 'artifact'"),
        ("artifact space=lab", "'rgb', 'frequency' or 'embedding'"),
        ("artifact space=embedding", "space embedding needs an embedder"),
        ("artifact space=rgb embedder=embedder.mini_sl", "the others take none"),
        ("cooccurrence levels=48", "a divisor of 256"),
        ("spectrum_1d rings=4", "It takes none"),
    ],
)
def test_what_makes_no_sense_is_refused(said: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_representation(said)


def test_ids_are_canonical() -> None:
    for text in ("artifact space=rgb", "artifact space=embedding embedder=embedder.mini_sl", "cooccurrence levels=64"):
        assert parse_representation(text).id == text
    assert parse_representation("cooccurrence").id == "cooccurrence levels=64"
