import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.stats import Estimate, wilson


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(counts, level):
    successes, n = counts
    expected = binomtest(successes, n).proportion_ci(level, method="wilson")
    found = wilson(successes, n, level)
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= found.low <= successes / n <= found.high <= 1


def test_wilson_of_nothing_is_unknown():
    assert math.isnan(wilson(0, 0).low)
    assert math.isnan(Estimate.of_rate(0, 0).value)


def test_wilson_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)


def test_of_rate_carries_its_trials():
    rate = Estimate.of_rate(3, 4)
    assert (rate.value, rate.n) == (0.75, 4)
    assert rate.low < 0.75 < rate.high
