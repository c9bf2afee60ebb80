"""Difference maps at 2,048 px beside the bare NumPy, SciPy and PyWavelets calls that give the same map, by turns.

|a - b| is taken of three channels; SSIM and wavelets of one, for three cost either side three times as much. The floor
leaves room for a busy machine; the measured ratio is in `extra_info`.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pywt
from PIL import Image as PILImage
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage

from harness.data.paired import pair_paths
from harness.difference import parse_method
from harness.difference.method import parse_preprocess, parse_strategy
from harness.difference.metrics import C1, C2
from harness.diffs import diff_pairs, read_asked

FLOOR = 0.8
SIDE = 2048


def planes(channels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE, channels), np.float32) for _ in range(2))
    return a, b


def test_absolute_difference_against_numpy(ratio: Callable[..., float]) -> None:
    a, b = planes(3)
    strategy = parse_strategy("difference")

    def ours() -> np.ndarray:
        return strategy(a, b, {})

    def theirs() -> np.ndarray:
        return np.abs(a - b).mean(axis=2)

    np.testing.assert_allclose(ours(), theirs(), atol=1e-6)
    assert ratio(ours, theirs, rounds=5) >= FLOOR


def test_ssim_against_scipy(ratio: Callable[..., float]) -> None:
    a, b = planes(1)
    strategy = parse_strategy("difference metric=ssim")

    def blurred(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, radius=5, axes=(0, 1))

    def ours() -> np.ndarray:
        return strategy(a, b, {})

    def theirs() -> np.ndarray:
        mean_a, mean_b = blurred(a), blurred(b)
        product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
        covariance, variances = blurred(a * b) - product, blurred(a * a + b * b) - squares
        similar = (2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))
        return (1 - similar)[:, :, 0]

    np.testing.assert_allclose(ours(), theirs(), atol=1e-5)
    assert ratio(ours, theirs) >= FLOOR


def test_wavelet_against_pywavelets(ratio: Callable[..., float]) -> None:
    a, b = planes(1)
    preprocess, strategy = parse_preprocess("wavelet basis=db2 level=2"), parse_strategy("difference")

    def coarse(values: np.ndarray) -> np.ndarray:
        approximation, *_ = pywt.wavedec2(values, "db2", "symmetric", 2, axes=(0, 1))
        none = (None, None, None)
        return pywt.waverec2([approximation, none, none], "db2", "symmetric", axes=(0, 1))[:SIDE, :SIDE]

    def ours() -> np.ndarray:
        return strategy(preprocess(a), preprocess(b), {})

    def theirs() -> np.ndarray:
        return np.abs(coarse(a) - coarse(b))[:, :, 0]

    np.testing.assert_allclose(ours(), theirs(), atol=1e-6)
    assert ratio(ours, theirs) >= FLOOR


def test_memory_is_flat_in_the_number_of_pairs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Ten times the pairs reach the same peak of arrays and objects; what one of them leaves behind would show."""
    few, many, side = 3, 30, 128
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        PILImage.radial_gradient("L").resize((side, side), box=(0, 0, 200, ord(name))).save(tmp_path / f"{name}.jpg")
        for index in range(many):
            (tmp_path / name / f"{index:02}.jpg").hardlink_to(tmp_path / f"{name}.jpg")
    paired, asked = pair_paths(tmp_path / "a", tmp_path / "b"), read_asked(parse_method())

    def peak(count: int) -> int:
        tracemalloc.start()
        some = replace(paired, pairs=paired.pairs[:count])
        compared = sum(not told.error for told in diff_pairs(some, asked, {}, tmp_path / "out"))
        (_, most), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
        assert compared == count
        return most

    peak(1)
    ratio = benchmark.pedantic(lambda: peak(many), rounds=1) / peak(few)
    benchmark.extra_info["ratio"] = ratio
    assert ratio < 1.1
