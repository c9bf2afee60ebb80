"""The schema of search records: what came of one search from one seed, the found image included."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SEARCH_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("sample", pa.string()),
        ("source", pa.string()),
        ("target", pa.int32()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("outcome", pa.string()),
        ("label", pa.int32()),
        ("white_class", pa.int32()),
        ("black_class", pa.int32()),
        ("white_margin", pa.float32()),
        ("black_margin", pa.float32()),
        ("l2", pa.float64()),
        ("linf", pa.float64()),
        ("psnr", pa.float64()),
        ("ssim", pa.float64()),
        ("float_psnr", pa.float64()),
        ("float_ssim", pa.float64()),
        ("white_queries", pa.int32()),
        ("black_queries", pa.int32()),
        ("gradients", pa.int32()),
        ("seconds", pa.float64()),
        ("first_white", pa.int32()),
        ("first_black", pa.int32()),
        ("first_gradients", pa.int32()),
        ("sha256", pa.string()),
        ("png", pa.binary()),
    ]
)

NO_SEED = ("pre_existing", "appeared", "incorrect")
"""Outcomes of images that no search began from: both models decided them differently from the start; they did so only
as 8-bit files, asked one at a time; or they were not right, where the task asks for that."""


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One row.

    Attributes:
        position, sample, source, target: the image, as in :class:`harness.store.records.Record`.
        error, detail: why there is no outcome; an image kept until then is in ``png``, not verified.
        outcome: one of :data:`NO_SEED`, or ``not_found``, ``lost_on_rounding``, ``lost_on_reserving``, ``found``.
        label: the class that both models gave the seed.
        white_class, black_class: decisions on the file at batch 1.
        white_margin, black_margin: of these, the largest logit minus the second.
        l2, linf, psnr, ssim: the file's distance from the seed, as in :class:`harness.images.quality.Distance`.
        float_psnr, float_ssim: the same before it was rounded.
        white_queries, black_queries, gradients, seconds: spent in all; first_*: when an image was first kept.
        sha256, png: the file.
    """

    position: int
    sample: str
    source: str
    target: int | None = None
    error: str | None = None
    detail: str | None = None
    outcome: str | None = None
    label: int | None = None
    white_class: int | None = None
    black_class: int | None = None
    white_margin: float | None = None
    black_margin: float | None = None
    l2: float | None = None
    linf: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    float_psnr: float | None = None
    float_ssim: float | None = None
    white_queries: int = 0
    black_queries: int = 0
    gradients: int = 0
    seconds: float = 0.0
    first_white: int | None = None
    first_black: int | None = None
    first_gradients: int | None = None
    sha256: str | None = None
    png: bytes | None = None
