"""Detectors of generated images: what each computes, and how it is trained. Trains and exports nothing itself."""

from export.detectors.architecture import Architecture, Scale, Served
from export.detectors.registry import ARCHITECTURES

__all__ = ["ARCHITECTURES", "Architecture", "Scale", "Served"]
