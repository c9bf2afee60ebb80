import json
import math

import pytest

from harness.claims import Checked
from harness.report import render
from harness.report.claims import claim_sections
from harness.report.detection import TaskResult, detection_sections
from harness.report.tree import Curves, Dendrogram, Matrix, Report, Section, Table, Text
from harness.spec.report import ClaimSpec
from harness.stats import Estimate
from harness.tasks.correlation import correlate
from tests.unit.detections import Made, crossed, detection

TABLE = {
    "a": {"a": 0.9, "b": 0.6, "c": 0.7},
    "b": {"a": 0.5, "b": 1.0, "c": 0.8},
    "c": {"a": 0.4, "b": 0.2, "c": 0.9},
}
HARMONISED = "harmonise codec=jpeg quality=96 subsampling=4:2:0"
JPEGS = ["jpeg quality=65 subsampling=4:2:0", "jpeg quality=30 subsampling=4:2:0"]


def sections(found, claims=(), many=False):
    correlation = correlate(found) if found.task.correlation else None
    return list(detection_sections(TaskResult(found, None, claims, (), correlation), many))


def titled(found, title):
    (section,) = [item for item in found if item.title == title]
    return section


def block(found, name):
    (one,) = [b for item in found for b in item.blocks if not isinstance(b, Text) and b.name == name]
    return one


def names(found):
    return {b.name for item in found for b in item.blocks if not isinstance(b, Text)}


def cells(table, row=0):
    return {key: value.value if isinstance(value, Estimate) else value for key, value in table.rows[row].items()}


def many_conditions(table, fall=0.1):
    conditions = ["none", *JPEGS]
    return {
        name: {(c, tested): value - fall * i for i, c in enumerate(conditions) for tested, value in row.items()}
        for name, row in table.items()
    }


class TestOneArchitecture:
    def test_its_matrix_replaces_the_one_of_all_detectors(self):
        found = sections(detection(crossed("x", TABLE)))
        matrix = block(found, "toy_cross_x_auroc")
        assert isinstance(matrix, Matrix)
        assert (matrix.row_labels, matrix.row_title) == (("a", "b", "c"), "trained on")
        assert matrix.diagonal == {(0, 0), (1, 1), (2, 2)}
        assert matrix.values[2][1].value == 0.2
        assert "toy_auroc" not in names(found)
        assert not titled(found, "Detector x generator").detail

    def test_row_means_keep_the_diagonal_apart(self):
        table = block(sections(detection(crossed("x", TABLE))), "toy_cross_x_means")
        assert [row["row"] for row in table.rows] == ["a", "b", "c", "all"]
        first, everything = cells(table), cells(table, 3)
        assert (first["inside_auroc"], first["outside_auroc"]) == pytest.approx((0.9, 0.65))
        assert everything["everywhere_auroc"] == pytest.approx(6.0 / 9)
        assert everything["inside_auroc"] == pytest.approx(2.8 / 3)
        assert everything["outside_balanced_accuracy"] == pytest.approx(3.2 / 6 - 0.1)
        assert everything["detectors"] == 3

    def test_the_mean_of_its_detectors_is_shown_both_ways(self):
        found = sections(detection(crossed("x", TABLE)))
        with_own, without = (block(found, f"toy_mean_of_detectors_auroc{end}") for end in ("", "_cross"))
        assert cells(with_own)["on_a"] == pytest.approx(0.6)
        assert cells(without)["on_a"] == pytest.approx(0.45)
        assert cells(without)["mean"] == pytest.approx(3.2 / 6)

    def test_a_harmonised_condition_has_matrices_and_means_of_its_own(self):
        values = {
            name: {(c, tested): v for c in ("none", HARMONISED) for tested, v in row.items()}
            for name, row in TABLE.items()
        }
        found = sections(detection(crossed("x", values), harmonise={"codec": "jpeg", "quality": 96}))
        assert {
            "toy_cross_x_auroc_harmonised",
            "toy_cross_x_means_harmonised",
            "toy_architectures_harmonised",
        } <= names(found)


class TestSeveral:
    def test_matrices_are_left_to_the_files(self):
        found = sections(detection([*crossed("x", TABLE), *crossed("y", TABLE)]))
        assert titled(found, "Detector x generator").detail
        assert {"toy_cross_x_auroc", "toy_cross_y_auroc"} <= names(found)
        table = block(found, "toy_architectures")
        assert [row["row"] for row in table.rows] == ["x", "y"]

    def test_detectors_of_no_family_have_a_matrix_of_all(self):
        found = sections(detection([*crossed("x", TABLE), Made("y.b", ("b",), TABLE["b"])]))
        assert block(found, "toy_auroc").row_labels == ("y.b",)

    def test_without_families_there_are_no_architectures(self):
        found = sections(detection([Made("x.a", ("a",), TABLE["a"]), Made("y.b", ("b",), TABLE["b"])]))
        assert "Architectures" not in {item.title for item in found}
        assert block(found, "toy_auroc").row_labels == ("x.a", "y.b")

    def test_variants_have_names_of_their_own(self):
        made = [Made(f"x.{n}{mark}", (n,), row) for mark in ("", "@b-1") for n, row in TABLE.items()]
        found = sections(detection(made))
        assert {"toy_cross_x_auroc", "toy_cross_x-b-1_auroc"} <= names(found)
        Report("t", "s", "VALID", (), tuple(found))

    def test_curves_are_one_line_an_architecture(self):
        values = many_conditions(TABLE)
        one, two = (
            sections(detection(made)) for made in (crossed("x", values), crossed("x", values) + crossed("y", values))
        )
        assert list(block(one, "toy_jpeg_in_domain").series) == ["x.a", "x.b", "x.c"]
        both = block(two, "toy_jpeg_in_domain")
        assert isinstance(both, Curves)
        assert list(both.series) == ["x", "y"]
        assert [point.value for point in both.series["x"]] == pytest.approx([2.8 / 3, 2.8 / 3 - 0.1, 2.8 / 3 - 0.2])


class TestTrainedOn:
    def test_has_a_table_with_both_means(self):
        found = sections(detection([*crossed("x", TABLE), *crossed("y", TABLE)], trained_on="a"))
        table = block(found, "toy_trained_on_auroc")
        assert [row["row"] for row in table.rows] == ["x", "y"]
        assert cells(table)["mean"] == pytest.approx(2.2 / 3)
        assert cells(table)["cross"] == pytest.approx(0.65)
        assert [column.title for column in table.columns] == [
            "architecture",
            "a",
            "b",
            "c",
            "all cells",
            "cross-generator",
        ]

    def test_nobody_trained_on_it_is_said(self):
        found = sections(detection(crossed("x", TABLE), trained_on="sd14"))
        (text,) = [item for item in titled(found, "Architectures").blocks if isinstance(item, Text)]
        assert text.body == "No detector was trained on sd14 alone. Trained on: a, b, c."
        assert "toy_trained_on_auroc" not in names(found)

    def test_degraded_images_are_its_own(self):
        found = sections(detection(crossed("x", many_conditions(TABLE)), trained_on="b"))
        table = block(found, "toy_degraded_auroc")
        assert table.title == "Trained on b, degraded images of b: AUROC"
        assert cells(table)["on_none"] == 1.0
        assert cells(table)["mean"] == pytest.approx(0.85)
        titles = [column.title for column in table.columns]
        assert titles == ["architecture", "clean", "jpeg quality=65", "jpeg quality=30", "mean of degraded"]


class TestCorrelation:
    def test_is_shown_where_it_is_asked_for(self):
        assert "Generators alike" not in {item.title for item in sections(detection(crossed("x", TABLE)))}
        found = titled(sections(detection(crossed("x", TABLE), correlation=True)), "Generators alike")
        tree, similarity, correlation = found.blocks
        assert isinstance(tree, Dendrogram)
        assert tree.leaves == similarity.row_labels == correlation.column_labels
        assert "Cophenetic correlation" in found.intro
        assert similarity.diagonal == {(0, 0), (1, 1), (2, 2)}

    def test_too_few_generators_are_said(self):
        found = sections(detection([Made("x.a", ("a",), {"a": 0.9})], correlation=True))
        (text,) = titled(found, "Generators alike").blocks
        assert text.body.startswith("Needs at least 3 tested generators")

    def test_distances_all_alike_are_said(self):
        even = {name: dict.fromkeys("abc", 0.5) for name in "abc"}
        found = titled(sections(detection(crossed("x", even), correlation=True)), "Generators alike")
        assert "All distances are alike" in found.intro
        assert "nan" not in render(Report("t", "s", "VALID", (), (found,)))["report.html"]


def claim(source, value=0.9, **more):
    return ClaimSpec(model="x.*", subset="a", value=value, source=source, **more)


MEASURED = Estimate(0.8, 0.7, 0.85, 100)


class TestClaims:
    def test_none_has_no_section(self):
        assert list(claim_sections((), "toy", "")) == []

    def test_a_source_of_which_nothing_was_measured_stands_apart(self):
        claims = [
            Checked("x.*", claim("one"), None),
            Checked("x.a", claim("two"), MEASURED),
            Checked("x.*", claim("two", trained_on=("a", "b"), metric="auroc", degradation="blur sigma=1"), None),
        ]
        first, second = claim_sections(claims, "toy", "t: ")
        assert (first.title, first.detail) == ("t: Claims", False)
        assert (second.title, second.detail) == ("t: Claims not measured here", True)
        (two,), (one,) = first.blocks, second.blocks
        assert (two.title, one.title) == ("two: 1 of 2 measured here", "one: 0 of 1 measured here")
        assert {two.name, one.name} == {"toy_claims", "toy_claims_2"}
        assert [row["holds"] for row in two.rows] == ["measured lower", "not measured here"]
        assert two.rows[1]["trained_on"] == "each of a, b; mean"
        assert two.rows[1]["condition"].startswith("blur sigma=1")
        assert two.rows[0]["condition"] == "clean"

    def test_all_of_them_unmeasured_are_counted(self):
        first, _ = claim_sections([Checked("x.*", claim("one"), None)] * 3, "toy", "")
        (text,) = first.blocks
        assert text.body == "None of 3 published figures is about what was tested here."


def test_the_whole_of_it_renders(tmp_path):
    values = many_conditions(TABLE)
    made = [*crossed("x", values), *crossed("y", values), Made("z.none", (), values["a"])]
    claims = [Checked("x.*", claim("a|<paper>"), None)]
    found = sections(detection(made, trained_on="a", correlation=True), claims, many=True)
    assert all(item.title.startswith("toy: ") for item in found)
    files = render(Report("t", "s", "VALID", (), tuple(found)))
    assert "<paper>" not in files["report.html"]
    json.loads(files["report.json"], parse_constant=pytest.fail)
    assert "tables/toy_cross_y_means.csv" in files
    assert isinstance(titled(found, "toy: Claims"), Section)
    assert isinstance(block(found, "toy_figures"), Table)


def test_one_class_alone_has_dashes():
    found = sections(detection([Made("x.a", ("a",), {"a": math.nan}), Made("x.b", ("b",), {"a": math.nan})]))
    assert block(found, "toy_cross_x_auroc").values == ((None,), (None,))
    assert cells(block(found, "toy_architectures"))["everywhere_auroc"] is None
