"""Fingerprints as pictures, and what stands out of them in Fourier space. Computes no figure of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.fingerprints.bank import Bank
from harness.fingerprints.spectrum import Floats, Peak, logarithmic, magnitudes, peaks, prominence, stretched
from harness.models import VARIANT
from harness.report.thumbnails import SIDE, png
from harness.report.tree import Block, Section, Sheet, Text, Tile

MOST_PEAKS = 4
"""Peaks told of each fingerprint."""

_INTRO = (
    "Above: the middle of each fingerprint pixel by pixel, its contrast stretched between the 1st and 99th percentile."
    " Below: the logarithm of its Fourier magnitudes, frequency 0 in the middle, and its strongest peaks as (across,"
    " down) in cycles per pixel, times the median of the frequencies around them."
)


def gallery_section(banks: Mapping[str, Bank], models: Sequence[str], name: str, prefix: str) -> Section:
    """Lay out the fingerprints of a task's models.

    Args:
        banks: those at hand, by model.
        models: the task's.
        name, prefix: of the task, for names of blocks and headings.
    """
    plain = list(dict.fromkeys(model.partition(VARIANT)[0] for model in models))
    blocks: list[Block] = [
        Sheet(f"{name}_gallery_{model}", model, tuple(_tiles(banks[model]))) for model in plain if model in banks
    ]
    if missing := [model for model in plain if model not in banks]:
        blocks.append(Text(f"{NOT_AT_HAND} {', '.join(missing)}."))
    return Section(f"{prefix}Gallery of fingerprints", tuple(blocks), _INTRO, detail=True)


NOT_AT_HAND = (
    "No fingerprints at hand, for only an entry of the suite's own repository that was exported as a bank brings them:"
)


def _tiles(bank: Bank) -> Iterator[Tile]:
    for name, fingerprint in zip(bank.names, bank.fingerprints, strict=True):
        magnitude = magnitudes(fingerprint)
        shown = pictured(fingerprint.astype(np.float64), logarithmic(magnitude))
        yield Tile(shown, name, told(peaks(prominence(magnitude), MOST_PEAKS)))


def pictured(pattern: Floats, spectrum: Floats) -> bytes:
    """Return a PNG of a pattern (3, H, W) stretched, its middle at full size, above a spectrum (H, W) in [0, 1]."""
    height, width = (min(side, SIDE) for side in spectrum.shape)
    top, left = (spectrum.shape[0] - height) // 2, (spectrum.shape[1] - width) // 2
    above = stretched(pattern)[:, top : top + height, left : left + width]
    below = np.repeat(_reduced(spectrum)[None], 3, axis=0)
    wide = max(above.shape[2], below.shape[2])
    parts = [np.pad(part, ((0, 0), (0, 0), (0, wide - part.shape[2]))) for part in (above, below)]
    pixels: NDArray[np.uint8] = np.round(255 * np.concatenate(parts, axis=1)).astype(np.uint8)
    return png(np.moveaxis(pixels, 0, -1), 2 * SIDE)


def told(found: Sequence[Peak]) -> str:
    """Return peaks in words."""
    return "; ".join(f"({peak.x:.3g}, {peak.y:.3g}) {peak.ratio:.3g}x" for peak in found) or "no peak"


def _reduced(spectrum: Floats) -> Floats:
    """Return a spectrum of at most SIDE x SIDE: of bins that meet in a pixel the highest, so that no peak is lost."""
    step = -(-max(spectrum.shape) // SIDE)
    height, width = (-(-side // step) for side in spectrum.shape)
    padded = np.pad(spectrum, [(0, n * step - side) for n, side in zip((height, width), spectrum.shape, strict=True)])
    return np.asarray(padded.reshape(height, step, width, step).max(axis=(1, 3)))
