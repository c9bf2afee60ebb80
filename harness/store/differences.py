"""The schema of difference records: how well one method marks what changed in one pair of images."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

DIFFERENCE_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("sample", pa.string()),
        ("source", pa.string()),
        ("postprocess", pa.string()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("spots", pa.int32()),
        ("found", pa.int32()),
        ("regions", pa.int32()),
        ("right", pa.int32()),
        ("iou", pa.float64()),
        ("pixel_ap", pa.float64()),
        ("pointing", pa.float64()),
        ("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class DifferenceRecord:
    """One row.

    Attributes:
        position: of the pair in its cell, from 0, times the cell's chains of post-processors, plus the chain's place.
        sample, source: the pair's name, and its cluster in every interval.
        postprocess: canonical id of the chain.
        error, detail: why there are no figures; a detail alone says why the map is empty (no registration).
        spots, found, regions, right: as in :class:`harness.metrics.localisation.Found`; of a method without a mask, the
            latter three are None.
        iou, pixel_ap, pointing: figures; None where undefined (no mask, or nothing changed).
        seconds: that the map took, registration and pre-processing apart; None where none was drawn.
    """

    position: int
    sample: str
    source: str
    postprocess: str
    error: str | None = None
    detail: str | None = None
    spots: int | None = None
    found: int | None = None
    regions: int | None = None
    right: int | None = None
    iou: float | None = None
    pixel_ap: float | None = None
    pointing: float | None = None
    seconds: float | None = None
