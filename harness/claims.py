"""Published figures held against measured ones; says how far they lie apart, never which is right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import ValidationError

from harness.card import Card
from harness.errors import CardError, problem
from harness.images.degrade import CLEAN
from harness.spec.suite import ClaimSpec
from harness.stats import Estimate
from harness.tasks.detection import Detection, Detector


@dataclass(frozen=True)
class Checked:
    """A claim beside what was measured on clean images.

    Attributes:
        detector, generator, metric: what the claim is about.
        claimed: the published figure, 0..1.
        source: where it was published.
        measured: this run's figure; None where the suite did not measure it.
    """

    detector: str
    generator: str
    metric: str
    claimed: float
    source: str
    measured: Estimate | None

    @property
    def holds(self) -> bool | None:
        """Whether the claim lies in the measured 95 % interval or below the measured figure; None if not measured.

        A figure that is undefined (nan: a class is missing) was not measured.
        """
        if self.measured is None or math.isnan(self.measured.value):
            return None
        return self.claimed <= self.measured.high


def check_claims(detection: Detection, cards: Mapping[str, Card], suite_claims: Sequence[ClaimSpec]) -> list[Checked]:
    """Return every claim of the suite and of the cards that is about a tested detector and generator.

    Raises:
        CardError: a card claims what is no figure of ours.
    """
    return [
        Checked(detector.name, claim.subset, claim.metric, claim.value, claim.source, _measured(detector, claim))
        for detector in detection.detectors
        for claim in (*_carried(cards[detector.model], detector), *suite_claims)
        if fnmatchcase(detector.name, claim.model) and claim.subset in detection.generators
    ]


def _carried(card: Card, detector: Detector) -> Iterator[ClaimSpec]:
    """Yield the card's claims that are this head's: those about a subset that it was trained on."""
    for key, value in card.claims.items():
        metric, _, subset = key.partition("@")
        if subset in detector.head.trained_on or (len(card.heads) == 1 and subset):
            claim = {"model": detector.name, "subset": subset, "metric": metric, "value": value, "source": card.source}
            try:
                yield ClaimSpec.model_validate(claim)
            except ValidationError as error:
                said = error.errors(include_url=False)[0]["msg"]
                hint = "Correct the card's claims and export it again"
                raise CardError(
                    problem(f"claim {key} of {card.name}", "METRIC@SUBSET: 0..1", f"{value:g} ({said})", hint)
                ) from error


def _measured(detector: Detector, claim: ClaimSpec) -> Estimate | None:
    figures = detector.figures.get((CLEAN, claim.subset))
    return figures.estimates.get(claim.metric) if figures else None
