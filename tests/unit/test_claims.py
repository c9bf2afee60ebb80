import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.card import Card, Head
from harness.claims import Checked, check_claims
from harness.errors import CardError
from harness.images.degrade import parse_degradation
from harness.spec.claim_tables import read_claims
from harness.spec.report import ClaimSpec, ClaimTable
from harness.spec.tasks import DetectionTask
from harness.stats import Estimate
from harness.tasks.detection import NO_OUTCOMES, Detection, Detector, Figures
from tests.unit.detections import crossed
from tests.unit.detections import detection as made_up

GENERATORS = ("gan", "vq")
MEASURED = Estimate(0.9, 0.85, 0.95, 100)
BLURRED = Estimate(0.5, 0.4, 0.6, 100)
BALANCED = Estimate(0.7, 0.6, 0.8, 100)
BLUR = parse_degradation("blur sigma=2").id
GAN, VQ = Head(name="gan", trained_on=("gan",)), Head(name="vq", trained_on=("vq",))


def figures(generator: str, condition: str, estimates: Mapping[str, Estimate]) -> Figures:
    draws = {"balanced_accuracy": np.full(8, BALANCED.value)}
    return Figures(generator, condition, False, 50, 50, {}, estimates, draws, NO_OUTCOMES)


def detection(*cards: Card, generators: Sequence[str] = GENERATORS) -> Detection:
    """Every head of every card measured alike: its accuracies on clean images, and a worse one on blurred ones."""
    measured = {"none": {"accuracy": MEASURED, "balanced_accuracy": BALANCED}, BLUR: {"accuracy": BLURRED}}
    detectors = [
        Detector(
            card.name if len(card.heads) == 1 else f"{card.name}/{head.name}",
            card.name,
            head,
            0.0,
            {(name, item): figures(item, name, found) for name, found in measured.items() for item in generators},
        )
        for card in cards
        for head in card.heads
    ]
    return Detection(DetectionTask(data="d"), generators, list(measured), detectors, 400)


def check(*cards: Card, claims: Sequence[ClaimSpec] = (), generators: Sequence[str] = GENERATORS) -> list[Checked]:
    return check_claims(detection(*cards, generators=generators), {card.name: card for card in cards}, claims)


def about(found: Sequence[Checked]) -> list[tuple[str, str]]:
    return [(item.detector, item.claim.subset) for item in found]


@pytest.mark.parametrize(
    ("claimed", "measured", "holds"),
    [
        (0.80, MEASURED, True),
        (0.90, MEASURED, True),
        (0.95, MEASURED, True),
        (0.9501, MEASURED, False),
        (0.90, None, None),
        (0.90, Estimate(math.nan, math.nan, math.nan, 100), None),
    ],
    ids=["below", "met", "at the bound", "above", "not measured", "undefined"],
)
def test_a_claim_holds_up_to_the_upper_bound(claimed: float, measured: Estimate | None, holds: bool | None) -> None:
    assert Checked("m", ClaimSpec(model="m", subset="gan", value=claimed), measured).holds is holds


def test_a_claim_stands_beside_the_clean_figure() -> None:
    claim = ClaimSpec(model="toy.one", subset="gan", value=0.97, source="a paper")
    assert check(Card(name="toy.one"), claims=[claim]) == [Checked("toy.one", claim, MEASURED)]


def test_a_metric_that_was_not_measured_has_no_verdict() -> None:
    (found,) = check(Card(name="toy.one"), claims=[ClaimSpec(model="toy.one", subset="vq", metric="auroc", value=0.5)])
    assert found.measured is None
    assert found.holds is None


@pytest.mark.parametrize(
    ("model", "detectors"),
    [
        ("*", ["toy.bank/gan", "toy.bank/vq", "toy.one"]),
        ("toy.bank/*", ["toy.bank/gan", "toy.bank/vq"]),
        ("*/vq", ["toy.bank/vq"]),
        ("toy.one", ["toy.one"]),
        ("toy.bank", None),
        ("TOY.ONE", None),
    ],
)
def test_a_suites_claim_finds_detectors_by_wildcard(model: str, detectors: list[str] | None) -> None:
    cards = Card(name="toy.bank", heads=(GAN, VQ)), Card(name="toy.one")
    found = check(*cards, claims=[ClaimSpec(model=model, subset="gan", value=0.9)])
    assert about(found) == [(name, "gan") for name in detectors or [model]]
    assert all((item.measured is None) == (detectors is None) for item in found)


def test_a_cards_claims_about_what_was_not_tested_are_left_out() -> None:
    card = Card(name="toy.one", claims={"accuracy@sd14": 0.9, "accuracy@vq": 0.8})
    assert about(check(card)) == [("toy.one", "vq")]


def test_a_suites_claim_about_what_was_not_tested_stands_once_unmeasured() -> None:
    claim = ClaimSpec(model="toy.*", subset="sd15", value=0.9)
    assert check(Card(name="toy.one"), Card(name="toy.two"), claims=[claim]) == [Checked("toy.*", claim, None)]


def test_a_claim_is_of_detectors_trained_as_it_says() -> None:
    bank = Card(name="toy.bank", heads=(GAN, VQ, Head(name="both", trained_on=("gan", "vq"))))
    claims = [ClaimSpec(model="toy.*", trained_on="vq", subset="gan", value=0.9)]
    assert about(check(bank, claims=claims)) == [("toy.bank/vq", "gan")]


def test_a_claim_is_held_against_its_own_condition() -> None:
    claims = [ClaimSpec(model="*", subset="gan", degradation=item, value=0.9) for item in (BLUR, "jpeg quality=9")]
    blurred, compressed = check(Card(name="toy.one"), claims=claims)
    assert blurred.measured == BLURRED
    assert compressed.measured is None


class TestMeanOverDetectors:
    CLAIM = ClaimSpec(model="toy.*", trained_on=("gan", "vq"), subset="gan", metric="balanced_accuracy", value=0.7)

    def test_is_the_mean_with_its_joint_interval(self) -> None:
        (found,) = check(Card(name="toy.bank", heads=(GAN, VQ)), claims=[self.CLAIM])
        assert found.detector == "toy.*"
        assert found.measured == Estimate(pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.7), 100)

    def test_is_not_measured_without_a_detector_for_each(self) -> None:
        (found,) = check(Card(name="toy.one", heads=(GAN,)), claims=[self.CLAIM])
        assert found.measured is None

    def test_leaves_other_detectors_out(self) -> None:
        other = Card(name="toy.all", heads=(Head(name="all", trained_on=("gan", "vq")),))
        (found,) = check(Card(name="toy.bank", heads=(GAN, VQ)), other, claims=[self.CLAIM])
        assert found.measured is not None
        assert found.measured.value == pytest.approx(0.7)

    def test_has_no_accuracy_for_that_is_not_bootstrapped(self) -> None:
        with pytest.raises(ValueError, match="balanced_accuracy"):
            ClaimSpec(model="*", trained_on=("gan", "vq"), subset="gan", value=0.9)


def test_each_head_of_a_bank_carries_the_claims_of_its_own_subsets() -> None:
    card = Card(name="toy.bank", heads=(GAN, VQ), claims={"accuracy@vq": 0.8, "accuracy@gan": 0.9}, source="a paper")
    assert [(item.detector, item.claim.subset, item.claim.value, item.claim.source) for item in check(card)] == [
        ("toy.bank/gan", "gan", 0.9, "a paper"),
        ("toy.bank/vq", "vq", 0.8, "a paper"),
    ]


def test_a_single_head_carries_every_claim_of_its_card() -> None:
    card = Card(name="toy.one", heads=(GAN,), claims={"accuracy@vq": 0.8, "accuracy@gan": 0.9})
    assert about(check(card)) == [("toy.one", "vq"), ("toy.one", "gan")]


def test_a_claim_about_no_subset_is_left_out() -> None:
    assert check(Card(name="toy.one", heads=(GAN,), claims={"accuracy": 0.9, "images": 5000})) == []


def test_the_cards_claims_come_before_the_suites() -> None:
    card = Card(name="toy.one", heads=(GAN,), claims={"accuracy@gan": 0.9})
    found = check(card, claims=[ClaimSpec(model="*", subset="gan", value=0.8)])
    assert [item.claim.value for item in found] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("claims", "said"),
    [({"f1@gan": 0.9}, "claim f1@gan of toy.one"), ({"accuracy@gan": 99.0}, r"expected METRIC@SUBSET: 0\.\.1, got 99")],
)
def test_a_claim_that_is_no_figure_is_an_error_of_the_card(claims: dict[str, float], said: str) -> None:
    with pytest.raises(CardError, match=said):
        check(Card(name="toy.one", heads=(GAN,), claims=claims))


class TestPublishedTables:
    """Detectors that answer as GenImage's table 2 says, held against its tables."""

    def held(self, suites: Path, file: str, **table: str) -> list[Checked]:
        def read(name: str, **keys: str) -> tuple[ClaimSpec, ...]:
            said = {"file": f"claims/{name}.csv", "metric": "auroc", "source": name, **keys}
            return read_claims(ClaimTable.model_validate(said), suites)

        rows: dict[str, dict[str, float]] = {}
        for claim in read("genimage_resnet50_cross", kind="cross", architecture="resnet50"):
            rows.setdefault(claim.trained_on[0], {})[claim.subset] = claim.value
        found = made_up(crossed("resnet50", rows))
        cards = {item.model: Card(name=item.model) for item in found.detectors}
        return check_claims(found, cards, read(file, **table))

    def test_each_cell_meets_its_own_claim(self, suites: Path) -> None:
        found = self.held(suites, "genimage_resnet50_cross", kind="cross", architecture="resnet50")
        assert len(found) == 64
        assert all(item.measured is not None and item.measured.value == item.claim.value for item in found)
        assert {item.detector for item in found if item.claim.trained_on == ("sd14",)} == {"resnet50.sd14"}

    @pytest.mark.parametrize(
        ("file", "table"),
        [
            ("genimage_mean_of_eight_models", {"kind": "mean"}),
            ("genimage_trained_on_sd14", {"kind": "trained_on", "trained_on": "sd14"}),
        ],
    )
    def test_other_architectures_are_not_measured(self, suites: Path, file: str, table: dict[str, str]) -> None:
        found = self.held(suites, file, **table)
        mine, others = ([item for item in found if (item.claim.model == "resnet50.*") == own] for own in (True, False))
        assert [item.measured.value for item in mine if item.measured] == pytest.approx(
            [item.claim.value for item in mine], abs=0.001
        )
        assert len(others) == 48
        assert all(item.measured is None for item in others)

    def test_conditions_that_were_not_tested_are_not_measured(self, suites: Path) -> None:
        found = self.held(suites, "genimage_degraded_sd14", kind="degraded", trained_on="sd14")
        assert len(found) == 42
        assert all(item.holds is None for item in found)
