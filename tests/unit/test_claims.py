import math
from collections.abc import Mapping, Sequence

import pytest

from harness.card import Card, Head
from harness.claims import Checked, check_claims
from harness.errors import CardError
from harness.spec.suite import ClaimSpec
from harness.spec.tasks import DetectionTask
from harness.stats import Estimate
from harness.tasks.detection import NO_OUTCOMES, Detection, Detector, Figures

GENERATORS = ("gan", "vq")
MEASURED = Estimate(0.9, 0.85, 0.95, 100)
BLURRED = Estimate(0.5, 0.4, 0.6, 100)
GAN, VQ = Head(name="gan", trained_on=("gan",)), Head(name="vq", trained_on=("vq",))


def figures(generator: str, condition: str, estimates: Mapping[str, Estimate]) -> Figures:
    return Figures(generator, condition, False, 50, 50, {}, estimates, {}, NO_OUTCOMES)


def detection(*cards: Card, generators: Sequence[str] = GENERATORS) -> Detection:
    """Every head of every card measured alike: its accuracy on clean images, and a worse one on blurred ones."""
    measured = {"none": {"accuracy": MEASURED}, "blur sigma=2": {"accuracy": BLURRED}}
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
    return [(item.detector, item.generator) for item in found]


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
    assert Checked("m", "gan", "accuracy", claimed, "", measured).holds is holds


def test_a_claim_stands_beside_the_clean_figure() -> None:
    claim = ClaimSpec(model="toy.one", subset="gan", value=0.97, source="a paper")
    assert check(Card(name="toy.one"), claims=[claim]) == [
        Checked("toy.one", "gan", "accuracy", 0.97, "a paper", MEASURED)
    ]


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
        ("toy.bank", []),
        ("TOY.ONE", []),
    ],
)
def test_a_suites_claim_finds_detectors_by_wildcard(model: str, detectors: list[str]) -> None:
    cards = Card(name="toy.bank", heads=(GAN, VQ)), Card(name="toy.one")
    found = check(*cards, claims=[ClaimSpec(model=model, subset="gan", value=0.9)])
    assert about(found) == [(name, "gan") for name in detectors]


def test_claims_about_what_was_not_tested_are_left_out() -> None:
    card = Card(name="toy.one", claims={"accuracy@sd14": 0.9, "accuracy@vq": 0.8})
    assert about(check(card, claims=[ClaimSpec(model="*", subset="sd15", value=0.9)])) == [("toy.one", "vq")]


def test_each_head_of_a_bank_carries_the_claims_of_its_own_subsets() -> None:
    card = Card(name="toy.bank", heads=(GAN, VQ), claims={"accuracy@vq": 0.8, "accuracy@gan": 0.9}, source="a paper")
    assert [(item.detector, item.generator, item.claimed, item.source) for item in check(card)] == [
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
    assert [item.claimed for item in found] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("claims", "said"),
    [({"f1@gan": 0.9}, "claim f1@gan of toy.one"), ({"accuracy@gan": 99.0}, r"expected METRIC@SUBSET: 0\.\.1, got 99")],
)
def test_a_claim_that_is_no_figure_is_an_error_of_the_card(claims: dict[str, float], said: str) -> None:
    with pytest.raises(CardError, match=said):
        check(Card(name="toy.one", heads=(GAN,), claims=claims))
