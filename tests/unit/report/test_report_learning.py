from typing import Literal

import pytest

from harness.card import Card
from harness.report import render
from harness.report.detection import TaskResult, detection_sections
from harness.report.learning import learning_section
from harness.report.tree import Curves, Report, Section, Table, Text
from harness.stats import Estimate
from harness.tasks.learning import learn
from tests.unit.detections import Made, detection

VALUES = {20: {"a": 0.7, "b": 0.5}, 300: {"a": 0.8, "b": 0.6}, 1000: {"a": 0.9, "b": 0.8}}


def section(
    numbers: dict[str, tuple[int, ...]], untold: str = "", by: Literal["images", "contents"] = "images"
) -> Section:
    detectors = [Made(f"{name}.a{n}", ("a",), VALUES[n]) for name, own in numbers.items() for n in own]
    cards = {item.model: Card(name=item.model, training={by: int(item.model.split(".a")[1])}) for item in detectors}
    if untold:
        detectors.append(Made(untold, ("a",), VALUES[20]))
        cards[untold] = Card(name=untold)
    return learning_section(learn(detection(detectors), cards, by), "toy", "")


def block(found: Section, name: str) -> object:
    (one,) = [item for item in found.blocks if not isinstance(item, Text) and item.name == name]
    return one


def values(cells: object) -> list[float | None]:
    return [cell.value if isinstance(cell, Estimate) else None for cell in cells]  # type: ignore[attr-defined]


def test_the_table_has_a_row_a_point() -> None:
    table = block(section({"x": (20, 300, 1000)}), "toy_learning")
    assert isinstance(table, Table)
    assert [(row["architecture"], row["trained_on"], row["number"], row["detectors"]) for row in table.rows] == [
        ("x", "a", 20, 1),
        ("x", "a", 300, 1),
        ("x", "a", 1000, 1),
    ]
    assert values(row["inside_auroc"] for row in table.rows) == [0.7, 0.8, 0.9]
    assert values(row["outside_auroc"] for row in table.rows) == [0.5, 0.6, 0.8]
    assert values(row["outside_balanced_accuracy"] for row in table.rows) == pytest.approx([0.4, 0.5, 0.7])


def test_pictures_keep_domains_apart_and_leave_gaps() -> None:
    found = section({"x": (20, 1000), "y": (20, 300)})
    inside, cross = (block(found, f"toy_learning_{end}") for end in ("in_domain", "cross"))
    assert isinstance(inside, Curves)
    assert isinstance(cross, Curves)
    assert inside.x_labels == ("20", "300", "1,000")
    assert values(inside.series["x"]) == [0.7, None, 0.9]
    assert values(cross.series["y"]) == [0.5, 0.6, None]


def test_accuracy_has_pictures_of_its_own() -> None:
    curves = block(section({"x": (20, 1000)}), "toy_learning_in_domain_balanced_accuracy")
    assert isinstance(curves, Curves)
    assert (curves.kind, curves.y_title) == ("percent", "balanced accuracy")
    assert values(curves.series["x"]) == pytest.approx([0.6, 0.8])


def test_gains_are_said() -> None:
    table = block(section({"x": (20, 300, 1000)}), "toy_learning_gains")
    assert isinstance(table, Table)
    assert [(row["tested"], row["start"], row["end"]) for row in table.rows] == [
        ("new generators", 20, 1000),
        ("new generators", 300, 1000),
        ("generators trained on", 20, 1000),
        ("generators trained on", 300, 1000),
    ]
    assert values(row["auroc"] for row in table.rows) == pytest.approx([0.3, 0.2, 0.2, 0.1])


def test_detectors_without_a_number_are_named() -> None:
    first, *_ = section({"x": (20, 300)}, untold="other.a", by="contents").blocks
    assert isinstance(first, Text)
    assert first.body == "Not shown, for their cards do not say the number of training contents: other.a."


def test_a_single_point_is_a_figure_and_no_curve() -> None:
    table, text = section({"x": (20,)}).blocks
    assert isinstance(table, Table)
    assert isinstance(text, Text)
    assert text.body.startswith("No architecture has detectors of different numbers of training images")


def test_no_number_at_all_is_said() -> None:
    first, second = section({}, untold="other.a").blocks
    assert isinstance(first, Text)
    assert isinstance(second, Text)


def test_it_stands_in_the_report_where_the_task_asks() -> None:
    found = detection([Made("x.a", ("a",), VALUES[20]), Made("x.b", ("a",), VALUES[300])], learning_curve="images")
    cards = {name: Card(name=name, training={"images": n}) for name, n in (("x.a", 20), ("x.b", 300))}
    asked = list(detection_sections(TaskResult(found, None, (), (), learning=learn(found, cards, "images")), False))
    silent = list(detection_sections(TaskResult(found, None, (), ()), False))
    assert [item.title for item in asked if item not in silent] == ["Learning curve"]
    page = render(Report("t", "s", "VALID", (), tuple(asked)))["report.html"]
    assert "AUROC by number of training images: new generators" in page
