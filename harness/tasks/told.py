"""What attributors said of images, as arrays, and the shares that are counted from it; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.attributors import source_of
from harness.card import Card
from harness.metrics.multiclass import log_probabilities
from harness.plan import Cell
from harness.stats.bootstrap import bootstrap
from harness.store.cells import CellStore
from harness.tasks.answers import Floats, Ids, answered, counted, hashed, scores_of

Bools = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Told:
    """What one attributor said of the images of several cells.

    Attributes:
        ids, clusters: what paths and source images hash to, uint64 (n,).
        truth, said: names of sources, (n,).
        logs: log probabilities of its classes, float64 (n, classes).
        knows: its classes.
        failures: failed records by reason; they are in none of the arrays.
    """

    ids: Ids
    clusters: Ids
    truth: Names
    said: Names
    logs: Floats
    knows: tuple[str, ...]
    failures: Mapping[str, int]

    @property
    def known(self) -> Bools:
        """Which images come from a source that it knows."""
        return np.isin(self.truth, self.knows)

    @property
    def centred(self) -> Floats:
        """Logits less their mean over classes, which says nothing: (n, classes)."""
        return np.asarray(self.logs - self.logs.mean(axis=1, keepdims=True))

    def only(self, keep: Bools) -> Told:
        """Return some of the images."""
        arrays = ("ids", "clusters", "truth", "said", "logs")
        return replace(self, **{name: getattr(self, name)[keep] for name in arrays})


def read_told(store: CellStore, cells: Iterable[Cell], card: Card) -> Told:
    """Return what one attributor said in the cells."""
    tables: list[pa.Table] = []
    truth: list[str] = []
    failures: list[Mapping[str, int]] = []
    scores = [np.zeros((0, card.outputs), np.float32)]
    for cell in cells:
        good, failed = answered(store, cell)
        tables.append(good.select(["sample", "source"]))
        truth += [source_of(cell.subset)] * good.num_rows
        scores.append(scores_of(good, card.outputs))
        failures.append(failed)
    whole = pa.concat_tables(tables)
    logs = _logs(np.concatenate(scores).astype(np.float64), card)
    return Told(
        ids=hashed(whole["sample"]),
        clusters=hashed(whole["source"]),
        truth=np.array(truth, np.str_),
        said=np.array(card.classes, np.str_)[logs.argmax(axis=1)],
        logs=logs,
        knows=card.classes,
        failures=counted(failures),
    )


def _logs(scores: Floats, card: Card) -> Floats:
    """Return log probabilities; of statistics (correlations) as if they were logits in units of their deviation."""
    if card.score == "statistic":
        return log_probabilities(scores / (scores.std() or 1.0) if scores.size else scores, "logit")
    return log_probabilities(scores, card.score)


ACCURACY, BALANCED, FAMILIES = "accuracy", "balanced_accuracy", "family_accuracy"


def recall_of(source: str) -> str:
    """Return the name of a source's recall."""
    return f"recall {source}"


def family_of(family: str) -> str:
    """Return the name of a family's accuracy: its images whose answer is a source of the same family."""
    return f"family {family}"


def shares(told: Told, families: Mapping[str, str]) -> dict[str, tuple[Bools, Bools]]:
    """Return the shares that figures are made of: by name, which images count and which of them are right.

    Args:
        told: images of known sources.
        families: by source; empty where there are none.
    """
    right = told.truth == told.said
    everything = np.ones(len(right), bool)
    found = {ACCURACY: (everything, right)}
    found |= {recall_of(name): (told.truth == name, right) for name in told.knows if (told.truth == name).any()}
    if families:
        own, other = (
            np.array([families.get(name, "") for name in names], np.str_) for names in (told.truth, told.said)
        )
        grouped, alike = own != "", own == other
        found[FAMILIES] = (grouped, alike)
        found |= {family_of(name): (own == name, alike) for name in dict.fromkeys(families.values()) if name in own}
    return found


@dataclass(frozen=True)
class Figure:
    """One figure of one training: its value, the images behind it, and its resampled values (resamples,)."""

    value: float
    images: int
    draws: Floats


def figures(told: Told, families: Mapping[str, str], resamples: int, seed: int) -> dict[str, Figure]:
    """Return figures by name: all :func:`shares`, and balanced accuracy, the mean of the recalls.

    Args:
        told: images of known sources.
        families: by source; empty where there are none.
        resamples: bootstrap resamples, clustered by source image.
        seed: of them.
    """
    found = shares(told, families)
    names = [*found, BALANCED]
    whole = np.stack([counts for counts, _ in found.values()], axis=1).astype(np.float64)
    part = np.stack([counts & right for counts, right in found.values()], axis=1).astype(np.float64)
    recalls = [place for place, name in enumerate(found) if name.startswith(recall_of(""))]

    def drawn(weights: NDArray[np.generic]) -> Floats:
        w = weights.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (w @ part) / (w @ whole)
        balanced = ratios[:, recalls].mean(axis=1, keepdims=True) if recalls else ratios[:, :1]
        return np.concatenate([ratios, balanced], axis=1)

    values = drawn(np.ones((1, len(told.ids))))[0]
    images = [*whole.sum(axis=0), len(told.ids)]
    draws = bootstrap(drawn, told.clusters, resamples, seed).T
    return {name: Figure(float(v), int(n), d) for name, v, n, d in zip(names, values, images, draws, strict=True)}


def confusion(told: Told, sources: Sequence[str]) -> Floats:
    """Return shares of answers, (sources, classes): a row each true source; nan where it has no image."""
    counts = np.array([[np.sum((told.truth == row) & (told.said == name)) for name in told.knows] for row in sources])
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))
