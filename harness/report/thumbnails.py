"""Pictures of the worst mistakes, small enough to travel inside a report."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from PIL import Image as PILImage

from harness.card import Card
from harness.data.sample import FAKE, Dataset, Sample
from harness.errors import ImageError
from harness.images import decode
from harness.images.degrade import CLEAN
from harness.images.preprocess import Image, preprocess
from harness.report.tree import Tile
from harness.tasks.classification import Classification, Flip, PairFigures
from harness.tasks.detection import Detection, Mistake
from harness.tasks.disagreement import SearchFigures

SIDE = 128
"""Longer side of a thumbnail in pixels."""


def mistake_tiles(detection: Detection, data: Dataset, most: int) -> Iterator[Tile]:
    """Yield the worst mistakes of all detectors on their own generators' images first, then on the others'.

    Args:
        detection: figures with mistakes.
        data: where the images are; one that is gone is left out.
        most: how many pictures.
    """
    worst: dict[str, tuple[str, Mistake]] = {}
    for detector in detection.detectors:
        for mistake in detector.mistakes:
            held = worst.get(mistake.sample)
            if held is None or held[1].margin < mistake.margin:
                worst[mistake.sample] = (detector.name, mistake)
    chosen = sorted(worst.values(), key=lambda pair: (-pair[1].margin, pair[1].sample))[:most]
    samples = _find(data, detection.task.split, {mistake.sample for _, mistake in chosen})
    for name, mistake in chosen:
        sample = samples.get(mistake.sample)
        if sample is None:
            continue
        try:
            picture = thumbnail(data.read(sample))
        except ImageError:
            continue
        said, truth = ("real", "fake") if mistake.label == FAKE else ("fake", "real")
        detail = f"{name}: score {mistake.score:.4g}, threshold {mistake.threshold:.4g}"
        yield Tile(picture, f"{sample.subset}: {truth}, called {said}", detail)


def flip_tiles(found: Classification, cards: Mapping[str, Card], data: Dataset, most: int) -> Iterator[Tile]:
    """Yield clean images that a pair decides differently, each once: negative flips first, the pairs taking turns.

    Args:
        found: figures with flips.
        cards: the models' cards by name; their classes have names.
        data: where the images are; one that is gone is left out.
        most: how many pictures.
    """
    pairs = [row for row in found.pairs if row.condition == CLEAN and not row.variant]
    flips = [(flip.reference != flip.target, place, row, flip) for row in pairs for place, flip in enumerate(row.flips)]
    first: dict[str, tuple[PairFigures, Flip]] = {}
    for _, _, row, flip in sorted(flips, key=lambda item: item[:2]):
        first.setdefault(flip.sample, (row, flip))
    chosen = dict(islice(first.items(), most))
    samples = _find(data, found.task.split, chosen)
    for name, (row, flip) in chosen.items():
        classes = cards[row.reference].classes
        try:
            picture = thumbnail(data.read(samples[name]))
        except (ImageError, KeyError):
            continue
        said = f"{row.reference}: {classes[flip.reference]}; {row.candidate}: {classes[flip.candidate]}"
        yield Tile(picture, classes[flip.target] if flip.target >= 0 else name, said)


def search_tiles(rows: Sequence[SearchFigures], cards: Mapping[str, Card], data: Dataset, split: str) -> Iterator[Tile]:
    """Yield, seed by seed, the original and then what each searcher found above its amplified difference.

    Args:
        rows: one pair's searchers.
        cards: the models' cards by name; their classes have names.
        data: where the seeds are; one that is gone is left out.
        split: of the seeds.
    """
    seeds = list(dict.fromkeys(item.sample for row in rows for item in row.shown))
    samples = _find(data, split, seeds)
    for seed in seeds:
        roles = rows[0].roles
        spec, classes = cards[roles.white].preprocess.pixels, cards[roles.white].classes
        try:
            image = decode(data.read(samples[seed]))
        except (ImageError, KeyError):
            continue
        pixels = image if data.ready else preprocess(image, spec)
        yield Tile(png(pixels), seed, "original")
        for searcher, item in ((row.searcher, item) for row in rows for item in row.shown if item.sample == seed):
            found = decode(item.png)
            difference = found.astype(np.int16) - pixels
            gain = 127 / max(int(np.abs(difference).max()), 1)
            amplified = (128 + gain * difference).astype(np.uint8)
            white, black = (
                classes[said] if classes else f"class {said}" for said in (item.white_class, item.black_class)
            )
            detail = f"{white} / {black}; {item.psnr:.1f} dB, difference x {gain:.3g}"
            yield Tile(png(np.concatenate([found, amplified]), 2 * SIDE), searcher, detail)


def thumbnail(data: bytes) -> bytes:
    """Return an image file as a PNG of at most SIDE x SIDE pixels.

    Raises:
        ImageError: it can't be decoded.
    """
    return png(decode(data))


def png(pixels: Image, height: int = SIDE) -> bytes:
    """Return pixels as a PNG, made smaller where they are wider than SIDE or higher than ``height``."""
    picture = PILImage.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((SIDE, height))
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=False)
    return buffer.getvalue()


def _find(data: Dataset, split: str, wanted: Collection[str]) -> Mapping[str, Sample]:
    """Return the wanted samples by path, streaming over a split."""
    found: dict[str, Sample] = {}
    for info in data.subsets():
        if info.split != split or len(found) == len(wanted):
            continue
        for sample in data.samples(info.subset, info.split):
            if sample.path in wanted:
                found[sample.path] = sample
    return found
