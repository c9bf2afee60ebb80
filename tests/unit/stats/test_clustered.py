import itertools

import numpy as np
import pytest

from harness.stats import mcnemar
from harness.stats.clustered import clustered_mcnemar


@pytest.mark.parametrize("seed", range(5))
def test_single_images_have_mcnemars_exact_p(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.random(300) < 0.8, random.random(300) < 0.7
    assert clustered_mcnemar(a, b, np.arange(300)) == pytest.approx(mcnemar(a, b), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_have_the_p_of_all_their_signs(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, clusters = random.random(50) < 0.8, random.random(50) < 0.5, random.integers(0, 11, 50)
    net = np.bincount(clusters, weights=b.astype(float) - a, minlength=11)
    sums = np.array([np.dot(signs, net) for signs in itertools.product((1, -1), repeat=11)])
    wanted = np.mean(np.abs(sums) >= abs(net.sum()) - 1e-9)
    assert clustered_mcnemar(a, b, clusters) == pytest.approx(wanted)


def test_what_changes_together_counts_once() -> None:
    a, b = np.ones(40, bool), np.repeat([False, True], 20)
    assert mcnemar(a, b) < 1e-5
    assert clustered_mcnemar(a, b, np.repeat([0, 1], 20)) == 1.0
    assert clustered_mcnemar(a, a, np.arange(40)) == 1.0


def test_thousands_of_changes_are_no_trouble() -> None:
    random = np.random.default_rng(0)
    a, b = random.random(50_000) < 0.6, random.random(50_000) < 0.5
    assert 0 < clustered_mcnemar(a, b, random.integers(0, 5_000, 50_000)) < 1e-12


def test_images_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="the same images"):
        clustered_mcnemar([True], [True, False], [0, 1])
