import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.report import kept, print_report, render
from harness.report.colour import SERIES
from harness.report.frames import csv, frame
from harness.report.markdown import markdown
from harness.report.scatter import EDGE, SIDE, scatter
from harness.report.tree import Report, Scatter, Section

NS = {"s": "http://www.w3.org/2000/svg"}
POINTS = Scatter("points", "Where", {"gan": ((0.0, 0.0), (4.0, 2.0)), "a|b": ((2.0, 1.0),)})


def spots(block):
    """Where each group's marks stand in pixels; the last one of a group is in the legend."""
    found = {}
    for group in ElementTree.fromstring(scatter(block)).iterfind(".//s:g", NS):
        name = group.find("s:text", NS).text
        moves = [node.get("transform") for node in group.iterfind("s:path[@class='spot']", NS)]
        found[name] = [tuple(map(float, re.match(r"translate\((\S+) (\S+)\)", move).groups())) for move in moves]
    return found


def report(block):
    return Report("t", "s", "VALID", (), (Section("s", (block,)),))


def test_places_keep_their_proportions_and_y_points_up():
    found = spots(POINTS)
    (x0, y0), (x1, y1), _ = found["gan"]
    (x2, y2), _ = found["a|b"]
    assert (x1 - x0) == pytest.approx(2 * (y0 - y1), abs=0.05)
    assert (x2, y2) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=0.05)


@given(st.integers(0, 99), st.integers(1, 20), st.floats(1e-3, 1e6))
@settings(max_examples=25, deadline=None)
def test_nothing_leaves_the_frame_and_the_legend_stands_beside_it(seed, groups, scale):
    random = np.random.default_rng(seed)
    points = {f"g{i}": tuple(map(tuple, scale * random.normal(size=(3, 2)))) for i in range(groups)}
    for *inside, legend in spots(Scatter("p", "p", points)).values():
        assert all(EDGE <= value <= EDGE + SIDE for place in inside for value in place)
        assert legend[0] > EDGE + SIDE


def test_groups_differ_in_colour_or_shape():
    many = Scatter("p", "p", {f"g{i}": ((float(i), 0.0),) for i in range(4 * len(SERIES["light"]))})
    looks = [
        (group.get("class"), group.find("s:path", NS).get("d"))
        for group in ElementTree.fromstring(scatter(many)).iterfind(".//s:g", NS)
    ]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("points", [{}, {"one": ((3.0, 3.0),)}, {"none": ()}, {"same": ((1.0, 2.0),) * 3}])
def test_little_to_show_is_shown(points):
    assert not re.search(r"nan|inf", scatter(Scatter("p", "p", points)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_points_without_a_place_are_refused(value):
    with pytest.raises(ValueError, match="finite points"):
        Scatter("p", "p", {"gan": ((value, 0.0),)})


def test_the_table_behind_it_is_the_points():
    assert csv(frame(POINTS)) == "series,x,y\ngan,0.0,0.0\ngan,4.0,2.0\na|b,2.0,1.0\n"


def test_text_says_how_many_points_and_where_they_are():
    text = markdown(report(POINTS))
    assert re.search(r"\| a\\\|b +\| +1 \|", text)
    assert "tables/points.csv" in text
    out = io.StringIO()
    print_report(report(POINTS), Console(file=out, width=80))
    assert "Where: 3 points, in pictures/points.svg" in out.getvalue()


def test_it_is_drawn_in_the_page_and_beside_it_and_kept_whole():
    files = render(report(POINTS))
    assert 'class="scatter"' in files["report.html"]
    assert files["pictures/points.svg"].startswith("<svg")
    again = kept.load(kept.dump((report(POINTS), ())))
    assert again is not None
    assert render(again[0]) == files
