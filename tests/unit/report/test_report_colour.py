import itertools

import pytest

from harness.report import colour

SCHEMES = {"light": "#ffffff", "dark": "#161b22"}
LEVELS = range(-colour.LEVELS // 2, colour.LEVELS + 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_reads_on_every_fill(scheme):
    assert all(colour.contrast(*pair) >= 4.5 for pair in ink_and_fill(scheme))


def ink_and_fill(scheme):
    return [(swatch.fill, swatch.ink) for swatch in (colour.heat_swatch(level, scheme) for level in LEVELS)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lightness_alone_orders_both_arms(scheme):
    away = [colour.contrast(colour.heat_swatch(level, scheme).fill, SCHEMES[scheme]) for level in LEVELS]
    middle = colour.LEVELS // 2
    assert all(a < b for a, b in itertools.pairwise(away[middle:]))
    assert all(a > b for a, b in itertools.pairwise(away[: middle + 1]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_stand_out_from_the_page_and_each_other(scheme):
    assert all(colour.contrast(line, SCHEMES[scheme]) >= 4 for line in colour.SERIES[scheme])
    assert len(set(colour.SERIES[scheme])) == len(colour.SERIES["light"]) == len(colour.SERIES["dark"])


@pytest.mark.parametrize(
    ("value", "level"),
    [(0.5, 0), (1.0, 20), (0.75, 10), (0.49, 0), (0.25, -10), (0.0, -10), (1.2, 20), (0.45, -2)],
)
def test_figures_find_their_step(value, level):
    assert colour.heat_level(value, 0.5, 1.0) == level


def test_contrast_is_wcags():
    assert colour.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colour.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
