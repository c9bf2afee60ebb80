"""Pictures of artifacts: an image, what is nearest to it among real ones, and their difference. Judges none of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.attributors import source_of
from harness.data.sample import Dataset
from harness.errors import DataError
from harness.fingerprints.pixels import content_hashes, read_pixels
from harness.fingerprints.reference import Reference
from harness.fingerprints.spaces import features
from harness.images.preprocess import Image
from harness.report.thumbnails import png
from harness.report.tree import Tile

Feature = NDArray[np.float32]
"""One image in a space, (3, height, width)."""

SPACES = {"rgb": "pixels", "frequency": "spectrum"}
"""The spaces that have pictures, and what is seen in them."""

MOST = 0.99
"""Quantile that the brightest of a picture are cut at, so that single peaks do not darken the rest."""


def artifact_tiles(
    subsets: Sequence[str], split: str, data: Dataset, references: Sequence[Reference]
) -> Iterator[Tile]:
    """Yield, for the first image of each subset and each space with pictures: it, its neighbour, its artifact.

    Args:
        subsets: of the data set.
        split: of its images.
        data: where the images are; one that can't be read is left out.
        references: fitted ones; embeddings, and those of images of another size, are left out.
    """
    for subset in subsets:
        sample = min(data.samples(subset, split), key=lambda item: item.path, default=None)
        if sample is None:
            continue
        for reference in (item for item in references if item.about.basis.space in SPACES):
            space = reference.about.basis.space
            try:
                images = np.stack(list(read_pixels(data, [sample], reference.about.preprocess)))
                found = features(space, images)
                rows, _ = reference.nearest(found, content_hashes(images))
            except DataError:
                continue
            own, nearest = found[0], reference.neighbours.features[rows[0]].reshape(found[0].shape)
            seen = SPACES[space]
            yield Tile(png(_seen(own, own, space)), source_of(subset), f"its {seen}")
            yield Tile(png(_seen(nearest, own, space)), source_of(subset), f"nearest real {seen}")
            artifact, gain = stretched(own - nearest)
            yield Tile(png(artifact), source_of(subset), f"artifact in {seen} x {gain:.3g}")


def stretched(artifact: Feature) -> tuple[Image, float]:
    """Return a difference as colours about grey, uint8 (height, width, 3), and the factor that it was stretched by.

    Zero is 128; all but the largest hundredth of values fit between black and white.
    """
    size = float(np.quantile(np.abs(artifact), MOST))
    gain = 0.5 / size if size > 0 else 1.0
    return _pixels(0.5 + gain * artifact), gain


def _seen(feature: Feature, scale: Feature, space: str) -> Image:
    """Return an image in a space as a picture; spectra from the dark to the bright of ``scale``."""
    if space == "rgb":
        return _pixels(feature)
    low, high = np.quantile(scale, [1 - MOST, MOST])
    return _pixels((feature - low) / max(float(high - low), 1e-9))


def _pixels(values: Feature) -> Image:
    return np.asarray(np.clip(255 * values.transpose(1, 2, 0) + 0.5, 0, 255), np.uint8)
