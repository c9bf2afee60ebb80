"""The pictures behind the miniature corpora: where each ships, who made it, and which split it belongs to."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np
from PIL import Image as PILImage

from harness.errors import DataError, problem
from harness.images.preprocess import Image

SIDE = 128
"""Side of a crop in pixels, where a corpus says nothing else."""

FLAT = 6.0
"""A crop whose grey levels deviate less than this (standard deviation) shows nothing and is left out."""

Tier = Literal["generator", "train", "val", "test"]


@dataclass(frozen=True)
class Photograph:
    """One photograph inside an installed package.

    Attributes:
        name: its name in crop ids.
        package, file: where it ships.
        tier: the split of its crops; ``generator``: the generators were trained on it and it is in no split.
        stride: pixels between crops; 128 where they must not overlap.
        licence, credit: as its package states them.
    """

    name: str
    package: str
    file: str
    tier: Tier
    stride: int
    licence: str
    credit: str


SKIMAGE, SKLEARN = "skimage.data", "sklearn.datasets.images"

PHOTOGRAPHS = (
    Photograph("coffee", SKIMAGE, "coffee.png", "generator", 128, "CC0", "Rachel Michetti, Pikolo Espresso Bar"),
    Photograph("hubble", SKIMAGE, "hubble_deep_field.jpg", "generator", 128, "public domain", "NASA, HubbleSite"),
    Photograph("rocket", SKIMAGE, "rocket.jpg", "generator", 128, "public domain", "SpaceX"),
    Photograph("gravel", SKIMAGE, "gravel.png", "generator", 128, "CC0", "CC0Textures Gravel04"),
    Photograph("flower", SKLEARN, "flower.jpg", "train", 32, "CC-BY-2.0", "vultilion, flickr.com"),
    Photograph("ihc", SKIMAGE, "ihc.png", "train", 64, "public domain", "Center for Microscopy and Molecular Imaging"),
    Photograph("retina", SKIMAGE, "retina.jpg", "train", 128, "CC0", "Mikael Häggström"),
    Photograph("grass", SKIMAGE, "grass.png", "train", 64, "CC0", "linolafett, DeviantArt"),
    Photograph("coins", SKIMAGE, "coins.png", "train", 32, "public domain", "Brooklyn Museum"),
    Photograph("chelsea", SKIMAGE, "chelsea.png", "val", 64, "CC0", "Stefan van der Walt"),
    Photograph("brick", SKIMAGE, "brick.png", "val", 128, "CC0", "CC0Textures Bricks25"),
    Photograph("astronaut", SKIMAGE, "astronaut.png", "test", 128, "public domain", "NASA Great Images"),
    Photograph("camera", SKIMAGE, "camera.png", "test", 128, "CC0", "Lav Varshney"),
    Photograph("china", SKLEARN, "china.jpg", "test", 128, "CC-BY-2.0", "danielbuechele, flickr.com"),
)
"""Every photograph of the corpus. Splits never share one."""

OTHER = (
    Photograph("cell", SKIMAGE, "cell.png", "test", 64, "CC0", "Paul Müller and others, Optics Express 26(8), 2018"),
    Photograph("text", SKIMAGE, "text.png", "test", 32, "public domain", "Wikipedia, Corner.png"),
    Photograph("clock", SKIMAGE, "clock_motion.png", "test", 64, "public domain", "Stefan van der Walt"),
    Photograph("horse", SKIMAGE, "horse.png", "test", 64, "CC0", "Andreas Preuss (marauder), openclipart.org"),
)
"""Pictures of what no photograph above shows: a measured phase, handwriting, a motion blur, a drawing.

They are tested only. None gives a dozen crops that show something and do not overlap, so these overlap.
"""


@dataclass(frozen=True)
class Crop:
    """A square cut of a photograph; ``name`` is unique and the cluster of all that is made of it."""

    name: str
    tier: Tier
    pixels: Image


def load(photograph: Photograph) -> Image:
    """Return a photograph, uint8 RGB (height, width, 3); grey ones have three equal channels.

    Raises:
        DataError: the installed package does not ship it.
    """
    try:
        data = (resources.files(photograph.package) / photograph.file).read_bytes()
    except (OSError, ModuleNotFoundError) as error:
        raise DataError(
            problem(
                f"photograph {photograph.name}",
                f"{photograph.file} inside {photograph.package}",
                "no such file",
                "Install the versions that uv.lock names: uv sync",
            )
        ) from error
    with PILImage.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def crops(photograph: Photograph, side: int = SIDE) -> Iterator[Crop]:
    """Yield the photograph's crops row by row, without those that show nothing."""
    pixels = load(photograph)
    height, width = pixels.shape[:2]
    for top in range(0, height - side + 1, photograph.stride):
        for left in range(0, width - side + 1, photograph.stride):
            cut = pixels[top : top + side, left : left + side]
            if float(cut.mean(axis=2).std()) >= FLAT:
                yield Crop(f"{photograph.name}-{top:04}-{left:04}", photograph.tier, cut)


def tier(name: Tier, photographs: Sequence[Photograph] = PHOTOGRAPHS, side: int = SIDE) -> Iterator[Crop]:
    """Yield the crops of one tier."""
    for photograph in photographs:
        if photograph.tier == name:
            yield from crops(photograph, side)
