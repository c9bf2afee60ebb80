import pytest

from harness.report.tree import Curves, Dendrogram, Matrix, Pairs, Report, Section, Text
from harness.stats import Estimate
from harness.stats.clustering import Merge


def report_of(*blocks):
    return Report("t", "s", "VALID", (), (Section("one", blocks),))


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "Upper", "a b", "a\n", "é"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match="block name"):
        report_of(Pairs(name, ()))


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="block same"):
        report_of(Pairs("same", ()), Pairs("same", ()))


def test_text_needs_no_name():
    assert len(list(report_of(Text("a"), Text("a")).blocks())) == 2


def test_a_matrix_is_whole():
    with pytest.raises(ValueError, match="2 rows of 1"):
        Matrix("m", "m", ("a", "b"), ("c",), ((None,),))


def test_a_line_has_a_figure_a_label():
    with pytest.raises(ValueError, match="curves c, line: expected 2 figures, got 1"):
        Curves("c", "c", ("a", "b"), {"line": (Estimate(1, 1, 1, 1),)})


AB, ABC = Merge(("a",), ("b",), 0.1), Merge(("a", "b"), ("c",), 0.3)


@pytest.mark.parametrize(
    ("leaves", "merges", "message"),
    [
        ("abc", (AB,), "expected one group, in the order of its leaves, got 2"),
        ("acb", (AB, ABC), "in the order of its leaves"),
        ("abc", (ABC, AB), r"expected two groups not merged yet, got \('a', 'b'\) and \('c',\)"),
        ("abc", (AB, AB), "two groups not merged yet"),
        ("ab", (Merge(("a",), ("x",), 0.1),), "two groups not merged yet"),
        ("", (), "one group"),
    ],
)
def test_a_tree_is_whole(leaves, merges, message):
    with pytest.raises(ValueError, match=message):
        Dendrogram("d", "d", tuple(leaves), merges)


def test_a_tree_of_one_leaf_has_nothing_to_merge():
    assert Dendrogram("d", "d", ("a",), ()).leaves == ("a",)
