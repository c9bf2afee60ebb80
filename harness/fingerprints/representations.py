"""Every representation by its name, and how cards' words become one."""

from __future__ import annotations

from harness.fingerprints.artifact import Artifact
from harness.fingerprints.colour import ColourHistogram, Cooccurrence
from harness.fingerprints.representation import Make, Representation
from harness.fingerprints.spectral import SpectrumDecay, SpectrumProfile
from harness.named import read_named

__all__ = ["REPRESENTATIONS", "Artifact", "Make", "Representation", "parse_representation"]

REPRESENTATIONS: dict[str, type[Representation]] = {
    kind.name: kind for kind in (Artifact, SpectrumProfile, SpectrumDecay, ColourHistogram, Cooccurrence)
}
"""Representations by name; a new one is a class and its entry here."""


def parse_representation(value: object) -> Representation:
    """Read a representation as a card names it: ``artifact space=rgb``, ``cooccurrence levels=64``.

    Raises:
        SuiteError: an unknown name or parameter, or a value out of range.
    """
    return read_named(value, REPRESENTATIONS, "representation", "artifact space=rgb")
