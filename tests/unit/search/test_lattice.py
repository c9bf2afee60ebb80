import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.search.lattice import FINEST, Walk

EDGES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 253, 254, 255]))
SLOPES = st.floats(-4, 4, width=32)


def pixels(*shape):
    return arrays.arrays(np.uint8, shape, elements=EDGES)


def slopes(*shape):
    return arrays.arrays(np.float32, shape, elements=SLOPES)


def moves(walk, k):
    return walk.at(k).astype(int) - walk.seed


@given(pixels(2, 3, 3), slopes(2, 3, 3), st.floats(0.001, 2))
def test_every_step_moves_one_value_by_one_level(seed, gradient, reach):
    walk = Walk(seed, gradient, reach)
    np.testing.assert_array_equal(walk.at(0), seed)
    assert walk.gain(0) == 0
    for k in range(1, min(len(walk), 60) + 1):
        step = moves(walk, k) - moves(walk, k - 1)
        assert np.abs(step).sum() == 1
        assert (step * gradient).sum() < 0


@given(pixels(2, 3, 3), slopes(2, 3, 3), st.floats(0.001, 20))
def test_no_value_leaves_its_range_or_turns_round(seed, gradient, reach):
    walk = Walk(seed, gradient, reach)
    change = moves(walk, len(walk))
    assert walk.at(len(walk)).dtype == np.uint8
    assert np.abs(change).sum() == len(walk)
    assert (change * gradient <= 0).all()


@given(pixels(2, 3, 3), slopes(2, 3, 3), st.floats(0.001, 2), st.floats(0, 1))
def test_gains_are_those_of_the_linear_margin(seed, gradient, reach, share):
    walk = Walk(seed, gradient, reach)
    k = round(share * len(walk))
    assert walk.gain(k) == pytest.approx(-(moves(walk, k) * gradient.astype(float)).sum() / 255, rel=1e-4, abs=1e-9)


@given(pixels(2, 3, 3), slopes(2, 3, 3), st.floats(0.001, 20))
def test_a_walk_reaches_as_far_as_it_must_where_the_lattice_does(seed, gradient, reach):
    walk = Walk(seed, gradient, reach)
    room = np.where(gradient < 0, 255 - seed.astype(int), seed)
    slope = np.where(room > 0, np.abs(gradient), 0).astype(float)
    worth = slope > 2 * FINEST * slope.max(initial=0)
    levels = np.minimum(room, (1 / (2 * FINEST * slope.max(initial=1)) * slope + 1) // 2)
    there_is = (slope * levels * worth).sum() / 255
    assert len(walk) == 0 or walk.gain(len(walk)) >= min(reach, there_is) * (1 - 1e-4)


@given(pixels(2, 3, 3), slopes(2, 3, 3), st.floats(0.001, 2), st.floats(0, 1))
def test_a_place_is_the_first_that_decreases_enough(seed, gradient, reach, share):
    walk = Walk(seed, gradient, reach)
    assume(len(walk))
    decrease = share * walk.gain(len(walk))
    k = walk.place(decrease)
    assert walk.gain(k) >= decrease
    assert k == 1 or walk.gain(k - 1) < decrease
    assert walk.place(2 * walk.gain(len(walk)) + 1) == len(walk)


CHANGES = np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
"""All changes of one pixel by up to seven levels a value."""


@given(pixels(1, 1, 3), slopes(1, 1, 3))
def test_no_lattice_change_of_that_gain_is_shorter_nor_any_mixture_of_two(seed, gradient):
    walk = Walk(seed, gradient, 0.1)
    allowed = CHANGES[((seed[0, 0] + CHANGES >= 0) & (seed[0, 0] + CHANGES <= 255)).all(axis=1)]
    gains = -(allowed * gradient[0, 0].astype(float)).sum(axis=1) / 255
    lengths = (allowed**2).sum(axis=1)
    for k in range(1, min(len(walk), 7) + 1):
        gain, length = walk.gain(k), (moves(walk, k) ** 2).sum()
        more, less = gains > gain * (1 + 1e-5), gains < gain * (1 - 1e-5)
        assert length <= lengths[more].min(initial=10**6)
        dearest = ((length - lengths[less]) / (gain - gains[less])).max()
        cheapest = ((lengths[more] - length) / (gains[more] - gain)).min(initial=np.inf)
        assert dearest <= cheapest * (1 + 1e-3)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_margin_leads_nowhere(level):
    walk = Walk(np.full((2, 3, 3), level, np.uint8), np.zeros((2, 3, 3), np.float32), 1.0)
    assert len(walk) == 0
    assert (walk.at(0) == level).all()


def test_nothing_moves_where_all_is_at_the_edge():
    assert len(Walk(np.zeros((2, 3, 3), np.uint8), np.ones((2, 3, 3), np.float32), 1.0)) == 0
