"""Quantiles and their intervals against scipy's, and how often they cover."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.stats.quantiles import fewest, needed, percentile


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [400, 1001, 5000])
def test_intervals_are_scipys(q: float, n: int) -> None:
    values = np.random.default_rng(n).lognormal(size=n)
    found = percentile(values, q)
    test = stats.quantile_test(values, q=0.0, p=q)
    expected = test.confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low, rel=0.05)
    assert found.high == pytest.approx(expected.high, rel=0.05)
    assert found.value == np.quantile(values, q, method="inverted_cdf")
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_intervals_cover_as_often_as_they_say(q: float) -> None:
    random, truth = np.random.default_rng(0), stats.expon.ppf(q)
    found = [percentile(random.exponential(size=500), q) for _ in range(600)]
    covered = np.mean([item.low <= truth <= item.high for item in found])
    assert 0.935 <= covered <= 0.99


@pytest.mark.parametrize("q", [0.9, 0.99, 0.999])
def test_few_values_tell_no_percentile_and_some_no_interval(q: float) -> None:
    values = np.arange(needed(q), dtype=float)
    assert math.isnan(percentile(values[: fewest(q) - 1], q).value)
    without = percentile(values[:-1], q)
    assert math.isnan(without.low)
    assert not math.isnan(without.value)
    assert not math.isnan(percentile(values, q).low)


def test_what_never_came_is_later_than_any() -> None:
    values = np.random.default_rng(0).exponential(size=982)
    everything = np.append(values, np.full(18, 1e9))
    assert percentile(values, 0.5, missing=18) == percentile(everything, 0.5)
    assert math.isnan(percentile(values, 0.99, missing=18).value)
    beside = percentile(values, 0.98, missing=18)  # its upper bound is among those that never came
    assert beside.value == np.quantile(everything, 0.98, method="inverted_cdf")
    assert math.isnan(beside.high)
    assert beside.n == 1000
