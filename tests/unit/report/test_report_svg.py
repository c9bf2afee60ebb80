import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.report import svg

figures = st.floats(-1e6, 1e6)


@given(figures, figures)
def test_ticks_cover_what_is_shown_and_are_few(a, b):
    low, high = sorted((a, b))
    assume(high - low > 1e-6 * max(1.0, abs(low), abs(high)))
    marks = svg.ticks(low, high)
    slack = 1e-6 * (high - low)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 6


def test_ticks_are_round():
    assert svg.ticks(0.5, 1.0) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert svg.ticks(0.93, 0.99) == [0.92, 0.94, 0.96, 0.98, 1.0]
    assert len(svg.ticks(0.7, 0.7)) >= 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=7))
def test_labels_are_moved_apart_and_keep_their_order(wanted):
    placed = svg.spread_out(wanted, 14, 0, 100)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in placed)
    assert all(b - a >= 14 - 1e-9 for a, b in itertools.pairwise(sorted(placed)))
    for i, j in itertools.combinations(range(len(wanted)), 2):
        if wanted[i] < wanted[j]:
            assert placed[i] < placed[j]


def test_labels_with_room_stay():
    assert svg.spread_out([50, 10, 90], 14, 0, 100) == [50, 10, 90]


@given(st.text(min_size=1, max_size=80), st.floats(30, 300))
def test_shortened_text_fits(text, room):
    short = svg.shorten(text, 12, room)
    assert short == text or svg.text_width(short, 12) <= room
    assert short == text or "…" in short


def test_shortening_keeps_both_ends():
    assert svg.shorten("stable_diffusion_v_1_4", 10, 60) == "stabl…_1_4"


def test_whole_text_stays_at_hand():
    assert "<title>stable_diffusion_v_1_4</title>" in svg.label(0, 0, "stable_diffusion_v_1_4", 10, 60)
    assert "<title>" not in svg.label(0, 0, "sd", 10, 60)


@pytest.mark.parametrize(("value", "x"), [(0.0, 3), (1.0, 77), (0.5, 40), (9.0, 77)])
def test_whiskers_stay_on_their_track(value, x):
    assert f'cx="{x}"' in svg.whisker(value, value, value, 0, 1)
    assert not math.isnan(float(x))
