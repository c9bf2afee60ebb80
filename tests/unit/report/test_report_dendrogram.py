import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.spatial.distance import squareform

from harness.report import print_report
from harness.report.dendrogram import ROW, dendrogram
from harness.report.frames import csv, frame
from harness.report.markdown import markdown
from harness.report.tree import Dendrogram, Report, Section
from harness.stats.clustering import Merge, average_linkage

NS = {"s": "http://www.w3.org/2000/svg"}
TREE = Dendrogram(
    "d", "Title", ("c", "a", "b"), (Merge(("a",), ("b",), 0.2), Merge(("c",), ("a", "b"), 0.6)), "distance"
)


def parsed(tree):
    return ElementTree.fromstring(dendrogram(tree))


def branches(picture):
    """The corners of each bracket: left x, y; right x; other y; other left x."""
    paths = [node.get("d") for node in picture.iterfind(".//s:path[@class='branch']", NS)]
    return [[tuple(map(float, point.split())) for point in path[1:].split("L")] for path in paths]


def ys(picture):
    return {node.text: float(node.get("y")) - 4 for node in picture.iterfind(".//s:text[@class='name']", NS)}


def made(seed, n, names=None):
    far = squareform(np.random.default_rng(seed).uniform(0, 1, n * (n - 1) // 2))
    found = average_linkage(names or [f"generator {i}" for i in range(n)], far)
    return Dendrogram("d", "d", found.order, found.merges)


def test_brackets_join_their_groups_at_their_distance():
    picture = parsed(TREE)
    first, second = branches(picture)
    places = ys(picture)
    assert [y for _, y in first] == pytest.approx([places["a"], places["a"], places["b"], places["b"]])
    middle = (places["a"] + places["b"]) / 2
    assert [y for _, y in second] == pytest.approx([places["c"], places["c"], middle, middle])
    start = first[0][0]
    assert first[3][0] == second[0][0] == start
    assert second[3][0] == first[1][0]
    assert (second[1][0] - start) / (first[1][0] - start) == pytest.approx(3, rel=1e-3)


def test_leaves_stand_in_their_order_a_row_apart():
    places = ys(parsed(TREE))
    assert list(places) == ["c", "a", "b"]
    assert np.diff(list(places.values())) == pytest.approx([ROW, ROW])


def test_the_axis_tells_the_distances():
    picture = parsed(TREE)
    marks = {node.text: float(node.get("x")) for node in picture.iterfind(".//s:text[@class='tick']", NS)}
    (_, (x, _), *_), _ = branches(picture)
    assert marks["0.200"] == pytest.approx(x, abs=0.02)
    assert picture.find(".//s:text[@class='axis-title']", NS).text == "distance"


def test_each_merge_says_what_it_joins():
    titles = [node.text for node in parsed(TREE).iterfind(".//s:g/s:title", NS)]
    assert titles == ["a and b: 0.200", "c and a + b: 0.600"]


@given(st.integers(0, 100), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_nothing_leaves_the_picture_and_no_branches_cross(seed, n):
    picture = parsed(made(seed, n))
    width, height = float(picture.get("width")), float(picture.get("height"))
    spans = []
    for points in branches(picture):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        (x1, y1), (x, top), (_, bottom), (x2, _) = points
        assert x >= max(x1, x2) - 0.02
        assert y1 == top
        spans.append(sorted((top, bottom)))
    assert len(spans) == n - 1


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=2, max_size=5, unique=True))
@settings(max_examples=40, deadline=None)
def test_any_label_is_text(names):
    picture = parsed(made(0, len(names), names))
    tags = {node.tag.partition("}")[2] for node in picture.iter()}
    assert tags == {"svg", "title", "desc", "text", "line", "g", "path"}


def test_a_label_that_is_markup_is_escaped():
    nasty = "<script>alert('&')</script>"
    text = dendrogram(made(0, 2, [nasty, "calm"]))
    assert "<script" not in text
    assert nasty in "".join(ElementTree.fromstring(text).itertext())


@pytest.mark.parametrize(
    "tree", [Dendrogram("d", "d", ("a",), ()), Dendrogram("d", "d", ("a", "b"), (Merge(("a",), ("b",), 0.0),))]
)
def test_little_to_show_is_shown(tree):
    assert not re.search(r"nan|inf", dendrogram(tree))
    assert ys(parsed(tree)).keys() == set(tree.leaves)


def test_the_table_behind_it_is_the_merges():
    assert csv(frame(TREE)) == "left,right,distance\na,b,0.2\nc,a + b,0.6\n"


def test_text_tells_the_merges():
    report = Report("t", "s", "VALID", (), (Section("s", (TREE,)),))
    assert re.search(r"\| c +\| a \+ b +\| +0\.600 \|", markdown(report))
    out = io.StringIO()
    print_report(report, Console(file=out, width=60))
    assert re.search(r"c +a \+ b +0\.600", out.getvalue())
