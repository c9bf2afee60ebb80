"""What a training leaves beside its weights: its result, and its curves as values and as text. Trains nothing."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from harness.errors import CheckpointError, problem
from harness.stats import Estimate
from harness.store.files import write_atomic

BLOCKS = "▁▂▃▄▅▆▇█"
RESULT = "result.json"
"""Written last of all: a folder that has it is done."""


@dataclass(frozen=True, kw_only=True)
class Result(ABC):
    """One model that is trained and entered.

    Attributes:
        name: of its entry.
        folder: weights and history.
        steps: optimiser steps to its best state; of a bank, of all its fingerprints together.
        seconds: of training, over all its resumptions; neither what a kill has lost nor the making of residuals or
            representations, which others may share, is counted.
        revision: of the code that trained it.
        curve: its training loss over time, as text.
    """

    name: str
    folder: Path
    steps: int
    seconds: float
    revision: str
    curve: str

    @property
    @abstractmethod
    def figure(self) -> str:
        """How good it is, in words."""

    def save(self) -> None:
        """Write it into its folder."""
        said = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_atomic(self.folder / RESULT, json.dumps(said, indent=2, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what a training left in its folder. Raises CheckpointError where that can't be read."""
        try:
            return cls(folder=folder, **json.loads((folder / RESULT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            path, do = folder / RESULT, "Delete the folder, and train again"
            raise CheckpointError(problem(str(path), "the result of a training", str(error)[:200], do)) from error


@dataclass(frozen=True, kw_only=True)
class Trained(Result):
    """A detector, or a bank of fingerprints.

    Attributes:
        auroc, balanced_accuracy: on the validation images; of a bank, the mean over its fingerprints.
        threshold: of its score.
        waited: share of its seconds spent waiting for images.
    """

    auroc: float
    balanced_accuracy: float
    threshold: float
    waited: float

    @property
    def figure(self) -> str:
        """Its AUROC."""
        return f"val AUROC {self.auroc:.3f}"


@dataclass(frozen=True, kw_only=True)
class TrainedAttributor(Result):
    """An attributor.

    Attributes:
        accuracy: on the validation images.
    """

    accuracy: float

    @property
    def figure(self) -> str:
        """Its accuracy."""
        return f"val accuracy {self.accuracy:.3f}"


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
    return tuple(Estimate.bare(value, 0) for value in values)
