import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness import stats
from harness.stats import bootstrap as module


def test_clusters_are_drawn_whole():
    clusters = np.array(["b", "a", "b", "c", "a"])
    counts = stats.cluster_weights(clusters, 50, seed=1)
    assert counts.shape == (50, 5)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, 1], counts[:, 4])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()


@given(st.permutations(range(8)))
def test_draws_follow_the_cluster_and_not_the_order(order):
    clusters = np.array(list("aabbcdef"))
    counts = stats.cluster_weights(clusters, 5, seed=4)
    np.testing.assert_array_equal(stats.cluster_weights(clusters[list(order)], 5, seed=4), counts[:, list(order)])


def test_the_seed_decides():
    clusters = np.arange(30)
    counts = stats.cluster_weights(clusters, 4, seed=0)
    np.testing.assert_array_equal(stats.cluster_weights(clusters, 4, seed=0), counts)
    assert (stats.cluster_weights(clusters, 4, seed=1) != counts).any()


def test_chunks_are_bounded_and_do_not_show(monkeypatch):
    clusters = np.arange(100) // 3
    whole = stats.cluster_weights(clusters, 25, seed=2)
    monkeypatch.setattr(module, "CHUNK", 700)
    chunks = list(stats.resamples(clusters, 25, seed=2))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 4]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_no_images_resample_to_nothing():
    assert stats.cluster_weights([], 3, seed=0).shape == (3, 0)


def test_draws_are_multinomial():
    counts = stats.cluster_weights(np.arange(50), 4000, seed=0)
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.08)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def mean_of(values):
    return lambda counts: counts @ values / counts.sum(axis=1)


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(0).gamma(2.0, size=300)
    found = stats.bootstrap_interval(module.bootstrap(mean_of(values), np.arange(300), 4000, seed=0))
    expected = scipy_stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.02)


def test_copies_of_an_image_do_not_narrow_the_interval():
    values = np.random.default_rng(1).normal(size=60)
    once = stats.bootstrap_interval(module.bootstrap(mean_of(values), np.arange(60), 1000, seed=0))
    clusters = np.repeat(np.arange(60), 5)
    copied = stats.bootstrap_interval(module.bootstrap(mean_of(np.repeat(values, 5)), clusters, 1000, seed=0))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_intervals_cover_as_often_as_they_say():
    generator = np.random.default_rng(5)
    runs, covered = 300, 0
    for run in range(runs):
        centres = generator.normal(size=40)
        values = np.repeat(centres, 3) + 0.1 * generator.normal(size=120)
        interval = stats.bootstrap_interval(
            module.bootstrap(mean_of(values), np.repeat(np.arange(40), 3), 200, seed=run)
        )
        covered += interval.low <= 0 <= interval.high
    assert 0.90 <= covered / runs <= 0.98


def test_a_statistic_may_have_several_values():
    found = module.bootstrap(lambda counts: counts[:, :2].astype(np.float64), np.arange(9), 6, seed=0)
    assert found.shape == (6, 2)


def test_unknown_resamples_are_left_out():
    interval = stats.bootstrap_interval([math.nan, 1.0, math.nan, 1.0])
    assert (interval.low, interval.high) == (1, 1)
    assert math.isnan(stats.bootstrap_interval([math.nan]).low)
    assert math.isnan(stats.bootstrap_p([math.nan]))


class TestP:
    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=50))
    def test_is_two_sided(self, differences):
        p = stats.bootstrap_p(differences)
        assert 2 / (len(differences) + 1) <= p <= 1
        assert stats.bootstrap_p([-d for d in differences]) == p

    def test_is_least_where_all_agree(self):
        assert stats.bootstrap_p(np.full(999, 0.1)) == 2 / 1000

    def test_few_beyond_zero_are_the_tail_of_a_normal(self):
        draws = np.random.default_rng(0).normal(size=1000)
        for z in (3.5, 5, 7):
            p = stats.bootstrap_p(draws + z)
            assert p == pytest.approx(2 * scipy_stats.norm.sf((draws + z).mean() / draws.std(ddof=1)))
            assert p == stats.bootstrap_p(-draws - z)
        assert min(stats.holm([stats.bootstrap_p(draws + 7)] * 500)) < 0.05
        assert stats.bootstrap_p(draws[:99] + 7) == 2 / 100

    @given(st.floats(0, 8))
    def test_no_tail_is_more_than_what_was_counted(self, z):
        draws = np.random.default_rng(1).normal(size=200) + z
        assert stats.bootstrap_p(draws) <= min(1.0, 2 * (min((draws <= 0).sum(), (draws >= 0).sum()) + 1) / 201)

    def test_rejects_as_often_as_it_says(self):
        generator = np.random.default_rng(6)
        rejected = 0
        for run in range(300):
            differences = generator.normal(size=50)
            rejected += stats.bootstrap_p(module.bootstrap(mean_of(differences), np.arange(50), 199, seed=run)) < 0.05
        assert rejected / 300 == pytest.approx(0.05, abs=0.035)


def test_one_cluster_bounds_nothing():
    values = np.array([1.0, 2.0, 4.0])
    alone = stats.bootstrap_mean(values, ["same"] * 3, 100, seed=0)
    assert alone.value == pytest.approx(7 / 3)
    assert math.isnan(alone.low)
    assert math.isnan(stats.bootstrap_p(module.bootstrap(lambda w: module.weighted_means(values, w), [0] * 3, 100, 0)))


def test_the_tail_of_few_clusters_is_students():
    random = np.random.default_rng(5)
    values = random.normal(0.1, 0.03, 10)
    draws = module.bootstrap(lambda w: module.weighted_means(values, w), np.arange(10), 4000, 0)
    expected = scipy_stats.ttest_1samp(values, 0).pvalue
    assert stats.bootstrap_p(draws, clusters=10) == pytest.approx(expected, rel=1)
    assert stats.bootstrap_p(draws) < expected / 1e6
