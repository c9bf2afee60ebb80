from collections.abc import Sequence

import pytest

from harness.card import Card
from harness.tasks.learning import LearningCurve, learn
from tests.unit.detections import Made, detection

FEW = {"a": 0.7, "b": 0.5, "c": 0.6}
SOME = {"a": 0.8, "b": 0.7, "c": 0.6}
MANY = {"a": 0.9, "b": 0.8, "c": 0.9}


def made(model: str, values: dict[str, float], trained_on: tuple[str, ...] = ("a",)) -> Made:
    return Made(model, trained_on, values)


def card(model: str, **training: str | int | float) -> Card:
    return Card(name=model, training=training)


def curve(detectors: Sequence[Made], images: dict[str, int]) -> LearningCurve:
    cards = {item.model: card(item.model) for item in detectors}
    cards |= {model: card(model, images=number, contents=1) for model, number in images.items()}
    return learn(detection(detectors), cards, "images")


class TestLines:
    def test_points_ascend_by_the_cards_number(self) -> None:
        detectors = [made("x.m", MANY), made("x.f", FEW), made("x.s", SOME)]
        (line,) = curve(detectors, {"x.m": 1000, "x.f": 20, "x.s": 300}).lines
        assert (line.name, line.architecture, line.trained_on) == ("x", "x", ("a",))
        assert [(point.number, [d.name for d in point.detectors]) for point in line.points] == [
            (20, ["x.f"]),
            (300, ["x.s"]),
            (1000, ["x.m"]),
        ]

    def test_the_quantity_is_the_one_asked_for(self) -> None:
        detectors = [made("x.f", FEW), made("x.m", MANY)]
        cards = {"x.f": card("x.f", images=50, contents=3), "x.m": card("x.m", images=50, contents=7)}
        (line,) = learn(detection(detectors), cards, "contents").lines
        assert [point.number for point in line.points] == [3, 7]

    def test_trainings_on_as_much_are_one_point(self) -> None:
        detectors = [made("x.f0", FEW), made("x.f1", SOME), made("x.m", MANY)]
        (line,) = curve(detectors, {"x.f0": 20, "x.f1": 20, "x.m": 1000}).lines
        assert [len(point.detectors) for point in line.points] == [2, 1]

    def test_generators_share_a_line_where_all_points_have_them(self) -> None:
        detectors = [made(f"x.{own}{n}", FEW, (own,)) for own in "ba" for n in (20, 300)]
        (line,) = curve(detectors, {item.model: int(item.model[3:]) for item in detectors}).lines
        assert (line.name, line.trained_on) == ("x", ("a", "b"))
        assert [len(point.detectors) for point in line.points] == [2, 2]

    def test_a_point_of_other_generators_is_on_a_line_of_its_own(self) -> None:
        detectors = [made("x.f", FEW), made("x.s", SOME), made("x.m", MANY, ("a", "b")), made("y.f", FEW)]
        found = curve(detectors, {"x.f": 20, "x.s": 300, "x.m": 1000, "y.f": 20})
        assert [(line.name, len(line.points)) for line in found.lines] == [("x: a", 2), ("x: a + b", 1), ("y", 1)]

    def test_banks_are_points_of_one_line(self) -> None:
        banks = [("dif.many", MANY), ("dif.few", FEW)]
        detectors = [Made(name, (head,), values, head) for name, values in banks for head in ("a", "b")]
        (line,) = curve(detectors, {"dif.many": 300, "dif.few": 20}).lines
        assert (line.name, line.trained_on) == ("dif", ("a", "b"))
        assert [(point.number, len(point.detectors)) for point in line.points] == [(20, 2), (300, 2)]

    def test_cards_without_the_number_are_named(self) -> None:
        detectors = [made("x.f", FEW), made("x.m", MANY), made("y.a", SOME), made("z.a", SOME)]
        found = learn(
            detection(detectors),
            {
                "x.f": card("x.f", images=20),
                "x.m": card("x.m", images=300),
                "y.a": card("y.a"),
                "z.a": card("z.a", images="many"),
            },
            "images",
        )
        assert found.untold == ("y.a", "z.a")
        assert [line.name for line in found.lines] == ["x"]


class TestGains:
    def test_by_hand(self) -> None:
        detectors = [made("x.f", FEW), made("x.s", SOME), made("x.m", MANY)]
        found = curve(detectors, {"x.f": 20, "x.s": 300, "x.m": 1000}).gains
        assert [(gain.line, gain.domain, gain.start, gain.end) for gain in found] == [
            ("x", "cross", 20, 1000),
            ("x", "cross", 300, 1000),
            ("x", "in_domain", 20, 1000),
            ("x", "in_domain", 300, 1000),
        ]
        assert [gain.auroc.value for gain in found] == pytest.approx([0.3, 0.2, 0.2, 0.1])

    def test_resamples_are_paired(self) -> None:
        """The toy's noise is one per test set, so it cancels in a difference."""
        gain, *_ = curve([made("x.f", FEW), made("x.m", MANY)], {"x.f": 20, "x.m": 1000}).gains
        assert (gain.auroc.low, gain.auroc.high) == pytest.approx((0.3, 0.3))

    def test_two_points_are_held_against_each_other_once(self) -> None:
        found = curve([made("x.f", FEW), made("x.m", MANY)], {"x.f": 20, "x.m": 1000}).gains
        assert [gain.domain for gain in found] == ["cross", "in_domain"]

    def test_p_is_adjusted_over_all_gains(self) -> None:
        one = curve([made("x.f", FEW), made("x.m", MANY)], {"x.f": 20, "x.m": 1000}).gains
        detectors = [made(f"{name}.{end}", values) for name in "xy" for end, values in (("f", FEW), ("m", MANY))]
        two = curve(detectors, {item.model: 20 if item.model.endswith("f") else 1000 for item in detectors}).gains
        assert [gain.p for gain in one] == pytest.approx([2 * 2 / 51] * 2)
        assert [gain.p for gain in two] == pytest.approx([4 * 2 / 51] * 4)

    def test_no_gain_is_not_significant(self) -> None:
        found = curve([made("x.f", FEW), made("x.m", FEW)], {"x.f": 20, "x.m": 1000}).gains
        assert [(gain.auroc.value, gain.p) for gain in found] == [(0.0, 1.0), (0.0, 1.0)]

    def test_a_single_point_gains_nothing(self) -> None:
        assert curve([made("x.f", FEW)], {"x.f": 20}).gains == ()

    def test_domains_without_figures_have_none(self) -> None:
        everywhere = ("a", "b", "c")
        detectors = [made("x.f", FEW, everywhere), made("x.m", MANY, everywhere)]
        found = curve(detectors, {"x.f": 20, "x.m": 1000}).gains
        assert [gain.domain for gain in found] == ["in_domain"]
