"""Figures of a difference task from records that are written here."""

import math
from pathlib import Path

import numpy as np
import pytest

from harness.difference.cells import DifferenceCell
from harness.difference.method import Method, parse_method
from harness.report.difference import difference_sections
from harness.report.tree import Report, Sheet, Table
from harness.spec.tasks import DifferenceTask
from harness.store.cells import CellStore
from harness.store.differences import DIFFERENCE_SCHEMA, DifferenceRecord
from harness.tasks.difference import ALL, Differences, evaluate_differences

PLAIN, GOOD, ODD = (parse_method(postprocess=steps) for steps in ("otsu", "smooth + otsu", "percentile q=97"))
CONDITIONS = ("none", "jpeg quality=30 subsampling=4:2:0")


class Bench:
    """A task over three methods; every method's IoU is the same in all pairs but for a pair's own part."""

    def __init__(self, folder: Path, **said: object) -> None:
        given = {"kind": "difference", "pairs": {"table": "pairs.csv"}, "degradations": list(CONDITIONS)}
        steps = {"postprocess": ["otsu", "smooth + otsu", "percentile q=97"]}
        self.task = DifferenceTask.model_validate({**given, "methods": steps, **said})
        self.store = CellStore(folder, DIFFERENCE_SCHEMA)
        self.cells: list[DifferenceCell] = []

    def put(self, split: str, subset: str, ious: dict[Method, float], pairs: int = 12, spots: int = 2) -> "Bench":
        methods = (PLAIN, GOOD, ODD)
        for condition in CONDITIONS:
            key = f"{len(self.cells):02}{split}"
            cell = DifferenceCell(key, self.task.name, methods, subset, split, condition, pairs)  # type: ignore[arg-type]
            self.cells.append(cell)
            records = [
                DifferenceRecord(
                    position=3 * pair + place,
                    sample=f"{subset}/{pair}",
                    source=f"{pair}",
                    postprocess="",
                    error=None if method in ious else "image:corrupt",
                    spots=spots,
                    found=min(place, spots),
                    regions=place + 1,
                    right=min(place, spots),
                    iou=ious[method] + 0.01 * (pair % 4) - 0.2 * (condition != "none") if method in ious else None,
                    pixel_ap=0.5 if spots else None,
                    pointing=float(pair % 2) if spots else None,
                    seconds=0.25,
                )
                for pair in range(pairs)
                for place, method in enumerate(methods)
            ]
            self.store.append(key, records)
        return self

    def found(self, chosen: Method | None = None) -> Differences:
        return evaluate_differences(self.task, self.cells, self.store, 200, 0, chosen)


def test_means_over_pairs_and_conditions(tmp_path: Path) -> None:
    found = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5}).found()
    assert [item.method for item in found.methods] == [GOOD, ODD, PLAIN]
    assert [item.rank for item in found.methods] == [1, 2, 3]
    best = found.methods[0]
    assert best.estimates["none", "iou"].value == pytest.approx(0.715)
    assert best.estimates[ALL, "iou"].value == pytest.approx(0.615)
    assert best.estimates[ALL, "iou"].low < best.estimates[ALL, "iou"].value < best.estimates[ALL, "iou"].high
    assert best.estimates[ALL, "iou"].n == 24
    assert best.estimates[ALL, "pixel_ap"].value == 0.5
    assert best.estimates[ALL, "pointing"].value == 0.5
    assert (best.estimates[ALL, "recall"].value, best.estimates[ALL, "precision"].value) == (0.5, 0.5)
    assert best.seconds == 0.25
    assert found.baseline is not None
    assert found.baseline.method == PLAIN


def test_pairs_without_changes_tell_of_false_regions_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    before = bench.found()
    after = bench.put("test", "same", {PLAIN: 0.0, GOOD: 0.0, ODD: 0.0}, spots=0).found()
    for one, two in zip(before.methods, after.methods, strict=True):
        assert one.estimates[ALL, "iou"].value == two.estimates[ALL, "iou"].value
        assert one.estimates[ALL, "precision"] == two.estimates[ALL, "precision"]
        assert list(two.kinds) == ["moved"]
    figures = {item.method: item.estimates[ALL, "false_regions"].value for item in after.methods}
    assert figures == {PLAIN: 1, GOOD: 2, ODD: 3}
    assert all(math.isnan(item.estimates[ALL, "false_regions"].value) for item in before.methods)


def test_the_choice_is_made_on_other_pairs(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    found = bench.put("val", "moved", {PLAIN: 0.4, GOOD: 0.5, ODD: 0.6}).found()
    assert found.choice is not None
    assert (found.choice.method, found.choice.on) == (ODD, "val")
    assert found.choice.score is not None
    assert found.choice.score.value == pytest.approx(0.515)
    assert [gain.condition for gain in found.gains] == [ALL, *CONDITIONS]
    for gain in found.gains:
        assert [gain.gain.value, gain.gain.low, gain.gain.high] == pytest.approx([0.1] * 3)
        assert gain.p < 0.05


def test_a_task_may_rank_by_how_regions_and_spots_agree(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rank_by="agreement").put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    bench.put("test", "same", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5}, spots=0)
    found = bench.put("val", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.6}).found()
    assert found.choice is not None
    assert found.choice.method == ODD
    assert found.choice.score is not None
    assert found.choice.score.value == pytest.approx(4 / 5)  # 2 spots, each with a region of the 3
    assert [item.method for item in found.methods] == [ODD, GOOD, PLAIN]
    agreement = [item.estimates[ALL, "agreement"].value for item in found.methods]
    assert agreement == pytest.approx([4 / (5 + 3), 2 / (4 + 2), 0])  # regions where nothing changed count
    assert found.gains[0].gain.value == pytest.approx(1 / 2)
    sections = tuple(difference_sections(found, (), many=False))
    tables = {block.name: block for section in sections for block in section.blocks if isinstance(block, Table)}
    assert tables["difference_gains"].title.startswith("Agreement of the chosen method")
    assert "agreement" in tables["difference_gains"].rows[0]


@pytest.mark.parametrize(
    "part", [{"methods": {"postprocess": ["otsu", "identity"]}}, {"baseline": {"postprocess": "identity"}}]
)
def test_a_method_that_marks_nothing_is_refused(part: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="marks nothing: name a threshold"):
        DifferenceTask.model_validate({"kind": "difference", "pairs": {"table": "pairs.csv"}, **part})


def test_another_task_chooses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, calibration=None, chosen_by="other").put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    found = bench.found(ODD)
    assert found.choice is not None
    assert (found.choice.method, found.choice.on, found.choice.score) == (ODD, "other", None)
    assert [(item.spots, item.found, item.regions, item.right) for item in found.pairs] == [(2, 2, 3, 2)] * 12
    assert bench.found(parse_method("gradient")).choice is None


def test_a_method_that_fails_where_it_is_hard_gains_nothing_by_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "easy", {PLAIN: 0.8, GOOD: 0.75, ODD: 0.5})
    found = bench.put("test", "hard", {PLAIN: 0.4, ODD: 0.3}).found()
    assert [item.method for item in found.methods] == [PLAIN, GOOD, ODD]
    assert found.methods[1].estimates[ALL, "iou"].value == pytest.approx((0.75 + 0.015 - 0.1) / 2)
    assert {item.estimates[ALL, "iou"].n for item in found.methods} == {48}


def test_failures_are_counted_and_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, ODD: 0.5}).put("val", "moved", {PLAIN: 0.4, ODD: 0.5})
    found = bench.found()
    assert {item.method for item in found.methods} == {PLAIN, ODD}
    assert found.failures == {"image:corrupt": 48}
    assert found.records == 144
    nothing = Bench(tmp_path / "none").put("test", "moved", {}).found()
    assert nothing.methods == ()
    assert nothing.failures == {"image:corrupt": 72}


def test_the_report_tells_the_choice_and_its_gain(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    bench.put("test", "added", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5})
    found = bench.put("val", "moved", {PLAIN: 0.4, GOOD: 0.5, ODD: 0.6}).found()
    sections = tuple(difference_sections(found, (), many=True))
    report = Report("t", "", "VALID", (), sections)  # refuses names that stand twice
    tables = {block.name: block for block in report.blocks() if isinstance(block, Table)}
    assert [row["mark"] for row in tables["difference_methods"].rows] == ["", "chosen", "baseline"]
    assert [row["condition"] for row in tables["difference_gains"].rows] == [ALL, *CONDITIONS]
    assert {"kind_added", "kind_moved"} <= set(tables["difference_kinds"].rows[0])
    assert "difference_by_postprocess" in tables
    assert "difference_by_strategy" not in tables
    assert not any(isinstance(block, Sheet) for block in report.blocks())
    assert ODD.id in str(sections[0].blocks[0])


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    (section,) = difference_sections(Bench(tmp_path).put("test", "moved", {}).found(), (), many=False)
    assert "No method" in str(section.blocks)


def test_one_picture_bounds_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("test", "moved", {PLAIN: 0.4, GOOD: 0.7, ODD: 0.5}, pairs=1)
    found = bench.put("val", "moved", {PLAIN: 0.4, GOOD: 0.5, ODD: 0.6}, pairs=1).found()
    assert [item.rank for item in found.methods] == [1, 1, 1]
    assert np.isnan([gain.p for gain in found.gains]).all()
