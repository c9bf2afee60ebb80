import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from harness.report.heatmap import heatmap
from harness.report.plot import is_wide, plot
from harness.report.style import alone, drawing
from harness.report.tree import Curves, Matrix
from harness.stats import Estimate

NS = {"s": "http://www.w3.org/2000/svg"}


def e(value):
    return Estimate(value, value - 0.01, value + 0.01, 100)


def parsed(markup):
    return ElementTree.fromstring(markup)


def of_class(tree, element, name):
    return [node for node in tree.iterfind(f".//s:{element}", NS) if name in node.get("class", "").split()]


def matrix(**changes):
    values = ((e(0.99), e(0.3)), (None, e(0.5)), (Estimate(math.nan, math.nan, math.nan, 0), e(0.75)))
    return Matrix("m", "Title", ("a", "b", "c"), ("x", "y"), values, frozenset({(0, 0), (1, 1)}), **changes)


class TestHeatmap:
    def test_every_cell_is_drawn_in_its_colour(self):
        classes = [node.get("class") for node in of_class(parsed(heatmap(matrix())), "g", "cell")][:6]
        assert classes == ["cell h20", "cell hm8", "cell none", "cell h0", "cell none", "cell h10"]

    def test_the_diagonal_is_outlined_where_it_is(self):
        marks = of_class(parsed(heatmap(matrix())), "rect", "mark")
        cells = of_class(parsed(heatmap(matrix())), "g", "cell")
        boxes = [cell.find("s:rect", NS) for cell in cells]
        assert len(marks) == 3  # two cells and the legend
        for mark, box in zip(marks, (boxes[0], boxes[3]), strict=False):
            assert float(mark.get("x")) == pytest.approx(float(box.get("x")), abs=1)
            assert float(mark.get("y")) == pytest.approx(float(box.get("y")), abs=1)

    def test_figures_intervals_and_tooltips_are_there(self):
        text = "".join(parsed(heatmap(matrix(kind="percent"))).itertext())
        assert "99.0%" in text
        assert "98.0–100.0" in text
        assert "a, x (in domain): 99.0% [98.0, 100.0], n = 100" in text
        assert "b, x: not measured" in text

    def test_the_scale_shows_what_is_below_chance_only_where_something_is(self):
        below = "".join(parsed(heatmap(matrix())).itertext())
        above = Matrix("m", "m", ("a",), ("x",), ((e(0.9),),))
        assert "≤ 0.250" in below
        assert "≤" not in "".join(parsed(heatmap(above)).itertext())

    @pytest.mark.parametrize("columns", [1, 3, 30])
    def test_everything_lies_inside(self, columns):
        names = tuple(f"a rather long generator name {i}" for i in range(columns))
        tree = parsed(heatmap(Matrix("m", "m", names, names, ((e(0.7),) * columns,) * columns)))
        width, height = float(tree.get("width")), float(tree.get("height"))
        for node in tree.iterfind(".//s:rect", NS):
            assert 0 <= float(node.get("x")) <= float(node.get("x")) + float(node.get("width")) <= width
            assert 0 <= float(node.get("y")) <= float(node.get("y")) + float(node.get("height")) <= height

    def test_it_says_in_words_what_it_shows(self):
        tree = parsed(heatmap(matrix(row_title="trained on")))
        assert tree.find("s:title", NS).text == "Title"
        assert "3 rows (trained on)" in tree.find("s:desc", NS).text


def curves(series, labels=("none", "q=90", "q=65"), **changes):
    return Curves("c", "Title", labels, series, "AUROC", **changes)


class TestPlot:
    def test_a_gap_parts_the_line(self):
        tree = parsed(plot(curves({"a": (e(0.9), None, e(0.7)), "b": (e(0.9), e(0.8), e(0.7))})))
        assert len(of_class(tree, "path", "line")) == 3
        assert len(of_class(tree, "path", "band")) == 3
        assert len(of_class(tree, "circle", "point")) == 5

    def test_better_is_higher(self):
        tree = parsed(plot(curves({"a": (e(0.9), e(0.8), e(0.6))})))
        places = [float(node.get("cy")) for node in of_class(tree, "circle", "point")]
        assert places == sorted(places)
        assert len(set(places)) == 3

    def test_a_band_spans_its_interval(self):
        tree = parsed(plot(curves({"a": (Estimate(0.8, 0.6, 1.0, 5), None, None)})))
        first, last = (float(y) for y in re.findall(r" ([\d.]+)", of_class(tree, "path", "band")[0].get("d")))
        [point] = of_class(tree, "circle", "point")
        assert first < float(point.get("cy")) < last
        assert float(point.get("cy")) == pytest.approx((first + last) / 2, abs=0.1)

    def test_every_line_is_named_and_no_name_covers_another(self):
        series = {f"detector {i}": (e(0.7), e(0.7), e(0.7)) for i in range(20)}
        names = of_class(parsed(plot(curves(series))), "text", "series-name")
        places = sorted(float(node.get("y")) for node in names)
        assert [node.text for node in names] == list(series)
        assert all(b - a >= 13.9 for a, b in itertools.pairwise(places))

    def test_lines_past_the_colours_are_told_apart_by_dashes(self):
        series = {f"{i}": (e(0.7), e(0.7), e(0.7)) for i in range(17)}
        tree = parsed(plot(curves(series)))
        groups = of_class(tree, "g", "series")
        looks = [(g.get("class"), g.find("s:path[@class='line']", NS).get("stroke-dasharray")) for g in groups]
        assert len(set(looks)) == 17

    def test_chance_is_drawn_where_it_is_near(self):
        near, far = ({"a": (e(value),) * 3} for value in (0.55, 0.98))
        assert of_class(parsed(plot(curves(near))), "line", "chance")
        assert not of_class(parsed(plot(curves(far))), "line", "chance")
        assert not of_class(parsed(plot(curves(near, chance=None))), "line", "chance")

    def test_long_labels_slant_and_short_ones_do_not(self):
        long = tuple(f"downsample size={size} filter=lanczos" for size in range(6))
        assert "rotate(45" in plot(curves({"a": (e(0.9),) * 6}, long))
        assert "rotate(45" not in plot(curves({"a": (e(0.9),) * 3}))

    @pytest.mark.parametrize("series", [{}, {"a": (None, None, None)}, {"a": (e(0.9), None, None)}])
    def test_little_to_show_is_shown(self, series):
        assert "nan" not in plot(curves(series))

    def test_no_labels_at_all(self):
        assert "nan" not in plot(curves({"a": ()}, labels=()))

    def test_many_lines_take_the_page(self):
        assert is_wide(curves({f"{i}": (None,) * 3 for i in range(9)}))
        assert not is_wide(curves({"a": (None,) * 3}))


class TestAlone:
    @pytest.mark.parametrize("block", [matrix(), Curves("c", "<b>T & t</b>", ("1", "2"), {"</svg>": (e(0.5), e(0.7))})])
    def test_a_picture_brings_its_style_and_its_words_stay_words(self, block):
        picture = alone(drawing(block))
        tree = parsed(picture)
        assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        (looks,) = tree.iterfind("s:style", NS)
        assert ".series .line { fill: none" in looks.text
        assert tree.find("s:title", NS).text == block.title
        assert picture.count("<svg") == picture.count("</svg>") == 1
