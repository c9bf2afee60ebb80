"""Pairs of pictures whose changes are known: made of photographs, or listed in a table."""

from harness.data.spots.generated import GeneratedPairs
from harness.data.spots.pairs import Pair, PairSet, Pixels
from harness.data.spots.table import TablePairs

__all__ = ["GeneratedPairs", "Pair", "PairSet", "Pixels", "TablePairs"]
