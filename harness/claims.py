"""Published figures held against measured ones; says how far they lie apart, never which is right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import ValidationError

from harness.card import Card
from harness.errors import CardError, problem
from harness.spec.report import ClaimSpec
from harness.stats import Estimate
from harness.tasks.detection import Detection, Detector, joint_mean


@dataclass(frozen=True)
class Checked:
    """A claim beside what was measured.

    Attributes:
        detector: whose figure was measured; the claim's own words where none was, or where it is a mean over several.
        claim: what was published.
        measured: this run's figure; None where the suite did not measure it.
    """

    detector: str
    claim: ClaimSpec
    measured: Estimate | None

    @property
    def holds(self) -> bool | None:
        """Whether the claim lies in the measured 95 % interval or below the measured figure; None if not measured.

        A figure that is undefined (nan: a class is missing) was not measured.
        """
        if self.measured is None or math.isnan(self.measured.value):
            return None
        return self.claim.value <= self.measured.high


def check_claims(detection: Detection, cards: Mapping[str, Card], suite_claims: Sequence[ClaimSpec]) -> list[Checked]:
    """Return the cards' claims that are about a tested detector and generator, then all of the suite's.

    Raises:
        CardError: a card claims what is no figure of ours.
    """
    carried = [
        _beside(detector, claim)
        for detector in detection.detectors
        for claim in _carried(cards[detector.model], detector)
        if claim.subset in detection.generators
    ]
    return [*carried, *(item for claim in suite_claims for item in _held(detection, claim))]


def _held(detection: Detection, claim: ClaimSpec) -> list[Checked]:
    """Return a claim beside each detector that it is about, or once where it is about none or about their mean."""
    meant = [item for item in detection.detectors if fnmatchcase(item.name, claim.model)]
    if claim.trained_on:
        meant = [item for item in meant if item.head.trained_on in {(name,) for name in claim.trained_on}]
    if len(claim.trained_on) > 1:
        return [Checked(claim.model, claim, _measured_mean(meant, claim))]
    if not meant or claim.subset not in detection.generators:
        return [Checked(claim.model, claim, None)]
    return [_beside(item, claim) for item in meant]


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


def _beside(detector: Detector, claim: ClaimSpec) -> Checked:
    figures = detector.figures.get((claim.degradation, claim.subset))
    return Checked(detector.name, claim, figures.estimates.get(claim.metric) if figures else None)


def _measured_mean(detectors: Sequence[Detector], claim: ClaimSpec) -> Estimate | None:
    """Return the mean over detectors; None unless there is one for each subset that the claim names."""
    if {item.head.trained_on for item in detectors} != {(name,) for name in claim.trained_on}:
        return None
    where = (claim.degradation, claim.subset)
    return joint_mean((item.figures[where] for item in detectors if where in item.figures), claim.metric)
