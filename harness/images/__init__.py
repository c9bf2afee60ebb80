"""Pixels: decode, sniff, preprocess, degrade. uint8 HWC RGB numpy in and out."""

from harness.images.decode import MAX_PIXELS, decode
from harness.images.degrade import DEGRADATIONS, Degradation, Harmonise, parse_degradation
from harness.images.preprocess import Image, Preprocess, preprocess
from harness.images.sniff import Header, sniff

__all__ = [
    "DEGRADATIONS",
    "MAX_PIXELS",
    "Degradation",
    "Harmonise",
    "Header",
    "Image",
    "Preprocess",
    "decode",
    "parse_degradation",
    "preprocess",
    "sniff",
]
