"""What each miniature corpus is made of: photographs, generators and the side of its crops; never builds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.data.miniature.designs import DESIGNS, PARENTS
from harness.data.miniature.photographs import OTHER, PHOTOGRAPHS, SIDE, Photograph

Split = Literal["train", "val", "test"]

GENERATORS = ("deconv", "nearest", "bilinear", "shuffle", "vq", "gan", "diffusion", "flow")
"""The generators of the corpus itself, in the order of reports."""

ATTRIBUTION = tuple(name for name in DESIGNS if name not in PARENTS)
"""The generators that an attributor tells apart, none fine-tuned from another."""

NOTE = (
    "These are figures of the miniature corpus, not of GenImage: 128 px crops of "
    f"{sum(item.tier == 'test' for item in PHOTOGRAPHS)} test photographs, and the same crops passed through eight "
    "small generators. Real and fake share content, codec and size. Crops of one photograph resemble each other, so "
    "the intervals, which resample crops, say nothing of other photographs."
)

OTHER_NOTE = (
    "Other content is the miniature's own: 128 px crops of four grey pictures that no detector was trained on and that "
    "resemble none of the corpus (a cell under a holographic microscope, handwriting, a clock blurred by motion, a "
    "silhouette), and the same crops passed through the same eight generators. What generators make of grey pictures "
    "takes more bytes as PNG, which the audit marks; detectors see no file sizes. Crops of one picture overlap, so the "
    "intervals, which resample crops, are too narrow and say nothing of other pictures."
)

ATTRIBUTION_NOTE = (
    "These are figures of the miniature corpus: crops of a few photographs, and the same crops passed through "
    f"{len(ATTRIBUTION)} small generators of four families. Sources share content, codec and size, so only what a "
    "generator does to pixels tells them apart. The intervals, which resample crops, say nothing of other photographs."
)

LINEAGE_NOTE = (
    "These are figures of the miniature corpus: crops of a few photographs, and the same crops passed through eight "
    f"small generators and {len(PARENTS)} that were fine-tuned from two of them. The intervals, which resample crops, "
    "say nothing of other photographs."
)

REFERENCE_NOTE = (
    "The reference is real alone: overlapping crops of the photographs that the miniature's generators were trained "
    "on. No split of any corpus shows them."
)

LARGE_NOTE = f"{ATTRIBUTION_NOTE} The crops are of 192 px and overlap by half, so the intervals are too narrow."


@dataclass(frozen=True)
class Content:
    """What a miniature corpus shows.

    Attributes:
        photographs: the pictures behind it.
        note: what a report must say of it.
        generators: what its crops are passed through, in the order of reports.
        side: of its crops in pixels, a multiple of 4.
    """

    photographs: tuple[Photograph, ...]
    note: str
    generators: tuple[str, ...] = GENERATORS
    side: int = SIDE

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return the splits that any of the photographs is in."""
        return tuple(split for split in get_args(Split) if any(item.tier == split for item in self.photographs))


def _tier(name: str) -> tuple[Photograph, ...]:
    return tuple(item for item in PHOTOGRAPHS if item.tier == name)


CORPUS = Content(PHOTOGRAPHS, NOTE)

CONTENTS: Mapping[str, Content] = {
    "": CORPUS,
    "other": Content(OTHER, OTHER_NOTE),
    "attribution": Content(PHOTOGRAPHS, ATTRIBUTION_NOTE, ATTRIBUTION),
    "lineage": Content(PHOTOGRAPHS, LINEAGE_NOTE, (*GENERATORS, *PARENTS)),
    "reference": Content(
        tuple(replace(item, tier="train", stride=64) for item in _tier("generator")), REFERENCE_NOTE, ()
    ),
    "attribution_192": Content(
        tuple(replace(item, stride=96) for item in _tier("test")), LARGE_NOTE, ATTRIBUTION, side=192
    ),
}
"""The corpora by the root that a suite gives; the corpus itself needs none."""
