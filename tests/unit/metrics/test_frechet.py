import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from harness.metrics.frechet import frechet_distance, frechet_distance_ratio


def cloud(seed, n=40, d=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + random.normal(size=d)


def by_scipy(a, b):
    first, second = np.cov(a.T), np.cov(b.T)
    shift = a.mean(0) - b.mean(0)
    return shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second).real)


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_is_that_of_scipys_matrix_root(seed):
    a, b = cloud(seed), cloud(seed + 100)
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-8)


def test_a_distance_by_hand():
    a, b = np.array([[0.0], [2.0]]), np.array([[10.0], [14.0]])
    assert frechet_distance(a, b) == pytest.approx((12 - 1) ** 2 + (math.sqrt(8) - math.sqrt(2)) ** 2)


@given(st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_a_distance_is_symmetric_and_none_to_itself_even_where_covariances_are_singular(seed, n):
    a, b = cloud(seed, n), cloud(seed + 1, n)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6, abs=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_a_ratio_by_hand():
    points = np.array([[0.0], [1.0], [0.0], [1.0], [10.0], [11.0], [10.0], [11.0]])
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    halves = []
    for seed_order in range(2):
        group = points[classes == seed_order]
        random = np.random.default_rng(3)
        for _ in range(4):
            order = random.permutation(4)
            a, b = group[order[:2], 0], group[order[2:], 0]
            halves.append((a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2)
    assert frechet_distance_ratio(points, classes, splits=4, seed=3) == pytest.approx(100 / np.mean(halves))


def test_classes_farther_apart_have_a_higher_ratio_and_equal_ones_about_a_half():
    noise = np.random.default_rng(0).normal(size=(2000, 4))
    classes = np.repeat(np.arange(5), 400)
    shifts = np.random.default_rng(1).normal(size=(5, 4))[classes]
    none, near, far = (frechet_distance_ratio(noise + step * shifts, classes) for step in (0, 0.3, 1))
    assert 0.3 < none < 0.9
    assert none < near < far


@given(st.integers(0, 1000), st.floats(0.01, 100), st.permutations(range(3)))
@settings(max_examples=20, deadline=None)
def test_neither_scale_nor_the_classes_names_change_the_ratio(seed, scale, names):
    points, classes = cloud(seed, 60), np.arange(60) % 3
    expected = frechet_distance_ratio(points, classes)
    assert frechet_distance_ratio(scale * points, classes) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_ratio(points, np.array(names)[classes]) == pytest.approx(expected, rel=1e-9)


def test_without_two_classes_there_is_no_ratio():
    points = cloud(0, 9)
    assert math.isnan(frechet_distance_ratio(points, np.zeros(9, np.int64)))
    assert math.isnan(frechet_distance_ratio(points, np.array([0] * 6 + [1] * 3)))


def test_classes_without_spread_are_infinitely_apart():
    points = np.repeat([[0.0, 1.0], [1.0, 0.0]], 8, axis=0)
    assert frechet_distance_ratio(points, np.repeat([0, 1], 8)) == math.inf
