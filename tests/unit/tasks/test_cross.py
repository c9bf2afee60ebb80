from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.spec.claim_tables import read_claims
from harness.spec.report import ClaimTable
from harness.stats import bootstrap_interval
from harness.tasks.cross import cross_matrix, degraded, families, mean_of_detectors, means, trained_on
from harness.tasks.detection import cross_generator, joint_mean
from tests.unit.detections import IMAGES, Made, crossed, detection

JPEG = "jpeg quality=65 subsampling=4:2:0"
BLUR = "blur sigma=3 truncate=4"

SMALL = {
    "a": {"a": 0.9, "b": 0.6, "c": 0.7},
    "b": {"a": 0.5, "b": 1.0, "c": 0.8},
    "c": {"a": 0.4, "b": 0.2, "c": 0.9},
}


def published(suites: Path) -> dict[str, dict[str, float]]:
    """GenImage's table 2 by training generator."""
    table = ClaimTable(file="claims/genimage_resnet50_cross.csv", kind="cross", architecture="resnet50", source="")
    rows: dict[str, dict[str, float]] = {}
    for claim in read_claims(table, suites):
        rows.setdefault(claim.trained_on[0], {})[claim.subset] = claim.value
    return rows


def value(found: object) -> float:
    return found.value  # type: ignore[attr-defined, no-any-return]


class TestFamilies:
    def test_detectors_of_one_architecture_belong_together(self) -> None:
        found = families(detection([*crossed("x", SMALL), *crossed("y", SMALL)]))
        assert [(item.name, len(item.detectors), item.crosses) for item in found] == [("x", 3, True), ("y", 3, True)]
        assert found[0].labels() == ("a", "b", "c")

    def test_the_heads_of_a_bank_are_one(self) -> None:
        bank = [Made("dif.one", (name,), SMALL[name], name) for name in SMALL]
        assert [item.name for item in families(detection(bank))] == ["dif"]

    def test_banks_of_one_architecture_are_apart(self) -> None:
        banks = [Made(model, (name,), SMALL[name], name) for model in ("dif.one", "dif.two") for name in SMALL]
        assert [(item.name, len(item.detectors)) for item in families(detection(banks))] == [
            ("dif.one", 3),
            ("dif.two", 3),
        ]

    def test_variants_are_apart(self) -> None:
        made = [Made(f"x.{name}{mark}", (name,), row) for mark in ("", "@batch1") for name, row in SMALL.items()]
        assert [item.name for item in families(detection(made))] == ["x", "x@batch1"]

    @pytest.mark.parametrize(
        ("trained", "crosses"),
        [
            ([("a",)], False),
            ([("a",), ("a",)], False),
            ([("a", "b"), ("b", "a")], False),
            ([("a",), ()], False),
            ([("a",), ("b",)], True),
            ([("a",), ("a", "b")], True),
        ],
    )
    def test_a_family_crosses_where_it_was_trained_on_different_things(
        self, trained: list[tuple[str, ...]], crosses: bool
    ) -> None:
        made = [Made(f"x.n{place}", names, {"a": 0.9}) for place, names in enumerate(trained)]
        assert [item.crosses for item in families(detection(made))] == [crosses]

    def test_labels_are_told_apart(self) -> None:
        names = {"x.one": ("a",), "x.two": ("a",), "x.three": ("a", "b"), "x.four": ()}
        made = [Made(model, trained, {"a": 0.9}) for model, trained in names.items()]
        assert families(detection(made))[0].labels() == ("x.one", "x.two", "a + b", "x.four")


class TestMeans:
    def test_genimages_headline_is_a_mean_of_two_things(self, suites: Path) -> None:
        (family,) = families(detection(crossed("resnet50", published(suites))))
        found = means(family.detectors, "auroc")
        assert round(100 * value(found.everywhere), 2) == 66.95
        assert round(100 * value(found.inside), 2) == 99.65
        assert round(100 * value(found.outside), 2) == 62.28

    def test_of_one_detector(self) -> None:
        (family,) = families(detection(crossed("x", SMALL)))
        found = means(family.detectors[:1], "auroc")
        assert value(found.inside) == 0.9
        assert value(found.outside) == pytest.approx(0.65)
        assert value(found.everywhere) == pytest.approx(2.2 / 3)

    def test_of_nothing(self) -> None:
        (family,) = families(detection([Made("x.a", ("a",), {"a": 0.9})]))
        assert means(family.detectors, "auroc").outside is None
        assert means(family.detectors, "auroc", "jpeg").everywhere is None

    def test_the_interval_is_of_the_mean_itself(self) -> None:
        found = detection(crossed("x", SMALL))
        cells = [item.figures["none", "a"] for item in found.detectors]
        joint = joint_mean(cells, "auroc")
        assert joint is not None
        expected = bootstrap_interval(np.mean([item.draws["auroc"] for item in cells], axis=0))
        assert (joint.low, joint.high) == (expected.low, expected.high)
        assert joint.n == IMAGES

    def test_images_of_several_test_sets_add_up(self) -> None:
        (family,) = families(detection(crossed("x", SMALL)))
        found = means(family.detectors, "auroc").everywhere
        assert found is not None
        assert found.n == 3 * IMAGES


class TestTables:
    def test_a_cross_matrix_has_its_diagonal_where_it_was_trained(self) -> None:
        found = detection(crossed("x", SMALL))
        (family,) = families(found)
        rows = dict(zip(family.labels(), family.detectors, strict=True))
        grid = cross_matrix(rows, found.generators, "auroc")
        assert (grid.rows, grid.columns) == (("a", "b", "c"), ("a", "b", "c"))
        assert [[value(cell) for cell in row] for row in grid.cells] == [list(row.values()) for row in SMALL.values()]
        assert grid.diagonal == {(0, 0), (1, 1), (2, 2)}
        assert [value(mean) for mean in grid.means] == pytest.approx([2.2 / 3, 2.3 / 3, 1.5 / 3])

    def test_the_mean_of_eight_models_is_the_published_one(self, suites: Path) -> None:
        rows = published(suites)
        found = detection(crossed("resnet50", rows))
        grid = mean_of_detectors(families(found), found.generators, "auroc")
        table = ClaimTable(file="claims/genimage_mean_of_eight_models.csv", kind="mean", source="")
        claimed = {item.subset: item.value for item in read_claims(table, suites) if item.model == "resnet50.*"}
        assert [value(cell) for cell in grid.cells[0]] == pytest.approx(
            [claimed[name] for name in grid.columns], abs=0.001
        )
        assert grid.diagonal == frozenset()

    def test_off_the_diagonal_each_column_leaves_its_own_detector_out(self) -> None:
        found = detection(crossed("x", SMALL))
        grid = mean_of_detectors(families(found), found.generators, "auroc", cross_generator)
        assert [value(cell) for cell in grid.cells[0]] == pytest.approx([0.45, 0.4, 0.75])
        assert value(grid.means[0]) == pytest.approx(3.2 / 6)
        outside = means(families(found)[0].detectors, "auroc").outside
        assert grid.means[0] is not None
        assert outside is not None
        assert (grid.means[0].low, grid.means[0].high) == pytest.approx((outside.low, outside.high))

    def test_trained_on_means_that_alone(self) -> None:
        both = Made("z.all", ("a", "b"), SMALL["a"])
        found = detection([*crossed("x", SMALL), *crossed("y", SMALL), both])
        assert {name: item.name for name, item in trained_on(found, "b").items()} == {"x": "x.b", "y": "y.b"}
        assert trained_on(found, "d") == {}

    def test_two_of_one_architecture_bear_their_names(self) -> None:
        found = detection([Made("x.one", ("a",), {"a": 0.9}), Made("x.two", ("a",), {"a": 0.8})])
        assert list(trained_on(found, "a")) == ["x.one", "x.two"]


def worn(values: Mapping[str, float]) -> dict[str | tuple[str, str], float]:
    """Figures on clean images, and lower ones of degraded images."""
    fall = {"none": 0.0, JPEG: 0.1, BLUR: 0.3}
    return {(condition, name): value - less for condition, less in fall.items() for name, value in values.items()}


class TestDegraded:
    def test_rows_are_tested_on_what_they_were_trained_on(self) -> None:
        found = detection([Made(f"x.{name}", (name,), worn(row)) for name, row in SMALL.items()], trained_on="b")
        grid = degraded(found, "auroc")
        assert grid.rows == ("x",)
        assert grid.columns == ("none", JPEG, BLUR)
        assert [value(cell) for cell in grid.cells[0]] == pytest.approx([1.0, 0.9, 0.7])

    def test_the_mean_leaves_clean_images_out(self) -> None:
        found = detection([Made("x.a", ("a",), worn({"a": 0.9, "b": 0.8}))], trained_on="a")
        assert value(degraded(found, "auroc").means[0]) == pytest.approx(0.7)

    def test_without_a_subset_it_is_the_mean_over_all_diagonals(self) -> None:
        found = detection([Made(f"x.{name}", (name,), worn(row)) for name, row in SMALL.items()])
        diagonal = np.mean([0.9, 1.0, 0.9])
        assert [value(cell) for cell in degraded(found, "auroc").cells[0]] == pytest.approx(
            [diagonal, diagonal - 0.1, diagonal - 0.3]
        )

    def test_a_subset_that_was_not_tested_has_no_row(self) -> None:
        found = detection([Made("x.a", ("a",), worn({"b": 0.8}))], trained_on="a")
        assert degraded(found, "auroc").rows == ()

    def test_what_was_never_in_domain_has_no_row(self) -> None:
        found = detection([Made("x.a", ("a",), worn({"a": 0.8})), Made("y.b", (), worn({"a": 0.8}))])
        assert degraded(found, "auroc").rows == ("x",)
