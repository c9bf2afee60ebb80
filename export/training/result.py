"""What a training leaves beside its weights: its result, and its curves as values and as text. Trains nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.stats import Estimate
from harness.store.files import write_atomic

BLOCKS = "▁▂▃▄▅▆▇█"
RESULT = "result.json"
"""Written last of all: a folder that has it is done."""


@dataclass(frozen=True)
class Trained:
    """One model that is trained and entered.

    Attributes:
        name: of its entry.
        folder: weights, history and curve.
        auroc, balanced_accuracy: on the validation images; of a bank, the mean over its fingerprints.
        threshold: of its score.
        steps: optimiser steps to its best state; of a bank, of all its fingerprints together.
        seconds: of training.
        waited: share of them spent waiting for images.
        revision: of the code that trained it.
        curve: its training loss over time, as text.
    """

    name: str
    folder: Path
    auroc: float
    balanced_accuracy: float
    threshold: float
    steps: int
    seconds: float
    waited: float
    revision: str
    curve: str

    @property
    def figure(self) -> str:
        """How good it is, in words."""
        return f"val AUROC {self.auroc:.3f}"

    def save(self) -> None:
        """Write it into its folder."""
        said = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_atomic(self.folder / RESULT, json.dumps(said, indent=2, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """Return what a training left in its folder."""
        return cls(folder=folder, **json.loads((folder / RESULT).read_text(encoding="utf-8")))


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return a series as a line of blocks, lowest to highest, thinned to ``width``."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    step = max(1, math.ceil(len(known) / width))
    shown, low, high = known[::step], min(known), max(known)
    scale = (len(BLOCKS) - 1) / ((high - low) or 1.0)
    return "".join(BLOCKS[round((value - low) * scale)] for value in shown)


def line(values: Sequence[float]) -> tuple[Estimate, ...]:
    """Return a series as a curve of figures without intervals."""
    return tuple(Estimate(value, math.nan, math.nan, 0) for value in values)
