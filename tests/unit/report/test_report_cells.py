import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import cells
from harness.report.tree import Column
from harness.stats import Estimate

WHOLE = Estimate(0.98765, 0.98, 0.9949, 400)


@pytest.mark.parametrize(
    ("cell", "kind", "shown"),
    [
        (None, "int", "–"),
        (math.nan, "percent", "–"),
        (24_000, "int", "24,000"),
        (0.98765, "percent", "98.8%"),
        (0.98765, "estimate", "0.988"),
        (WHOLE, "percent", "98.8%"),
        (1234.5678, "float", "1235"),
        (0.000123456, "float", "0.0001235"),
        (512, "bytes", "512 B"),
        (245_760, "bytes", "246 kB"),
        (3.2e9, "bytes", "3.2 GB"),
        (0.0123, "seconds", "12.3 ms"),
        (2.5, "seconds", "2.5 s"),
        (75.2, "seconds", "1 min 15 s"),
        (3725, "seconds", "1 h 02 min"),
        ("a", "int", "a"),
        (3, "text", "3"),
    ],
)
def test_figures_read_as_their_kind(cell, kind, shown):
    assert cells.show(cell, kind) == shown


def test_an_interval_is_shown_beside_its_figure():
    assert cells.show_whole(WHOLE, "estimate") == "0.988 [0.980, 0.995]"
    assert cells.show_whole(WHOLE, "percent") == "98.8% [98.0, 99.5]"
    assert cells.show_spread(WHOLE, "percent") == "98.8% ±0.7"


@pytest.mark.parametrize("cell", [0.5, None, Estimate(0.5, math.nan, math.nan, 3)])
def test_no_interval_is_made_up(cell):
    assert cells.show_interval(cell, "estimate") == ""
    assert cells.show_whole(cell, "estimate") == cells.show_spread(cell, "estimate") == cells.show(cell, "estimate")


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text):
    left = cells.plain(text + "\x1b[31m\u202e\x9b")
    assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in left)
    assert "\u202e" not in left
    assert len(left) == len(text) + 7


def test_the_best_figures_are_found():
    rows = [{"a": 0.5}, {"a": WHOLE}, {}, {"a": math.nan}, {"a": 0.98765}]
    assert cells.best_rows(Column("a", "a", "estimate", "high"), rows) == {1, 4}
    assert cells.best_rows(Column("a", "a", "estimate", "low"), rows) == {0}
    assert cells.best_rows(Column("a", "a", "estimate"), rows) == set()
    assert cells.best_rows(Column("a", "a", "estimate", "high"), rows[:1] * 3) == set()
