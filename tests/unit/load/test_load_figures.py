import math

import numpy as np
import pytest
from scipy import stats

from harness.load.figures import spread, window_medians
from harness.load.peak import MOST_STEPS, Step, bracket, next_rate
from harness.load.schedule import schedule


def test_windows_are_of_equal_length() -> None:
    when = np.array([0.0, 0.1, 1.2, 2.5, 2.6, 4.0, 5.0])
    medians = window_medians(when, [1, 3, 5, 7, 9, 11, 13], 5)
    np.testing.assert_array_equal(medians, [2, 5, 8, math.nan, 12])
    assert math.isnan(spread(medians))
    assert spread([9, 2, 2, 2.5]) == 0.25
    assert np.isnan(window_medians([], [], 3)).all()


def test_poisson_arrivals_have_exponential_gaps() -> None:
    due = schedule(200, 50, "poisson", 0)
    assert (np.diff(due) >= 0).all()
    assert due[0] >= 0
    assert due[-1] < 50
    assert len(due) == pytest.approx(10_000, rel=0.05)
    assert stats.kstest(np.diff(due), stats.expon(scale=1 / 200).cdf).pvalue > 0.01
    np.testing.assert_array_equal(due, schedule(200, 50, "poisson", 0))
    assert not np.array_equal(due[:50], schedule(200, 50, "poisson", 1)[:50])


def test_constant_arrivals_are_as_far_apart_as_the_rate_says() -> None:
    np.testing.assert_allclose(schedule(4, 1.5, "constant", 0), [0, 0.25, 0.5, 0.75, 1.0, 1.25])


@pytest.mark.parametrize("truth", [3.0, 37.0, 900.0])
@pytest.mark.parametrize("precision", [0.1, 0.5])
def test_a_search_ends_beside_the_peak(truth: float, precision: float) -> None:
    steps: list[Step] = []
    while (rate := next_rate(steps, 50.0, precision)) is not None:
        steps.append(Step(rate, rate <= truth))
    low, high = bracket(steps)
    assert low <= truth < high <= low * (1 + precision)
    assert len(steps) < MOST_STEPS


@pytest.mark.parametrize("met", [True, False])
def test_a_search_without_an_end_is_ended(met: bool) -> None:
    steps: list[Step] = []
    while (rate := next_rate(steps, 1.0, 0.1)) is not None:
        steps.append(Step(rate, met))
    assert len(steps) == MOST_STEPS
    low, high = bracket(steps)
    assert math.isinf(high) if met else low == 0
