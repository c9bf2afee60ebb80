"""Attributors made up by hand: their records in a real store, for tests of what is computed and laid out from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.card import Card
from harness.plan import Cell
from harness.spec.suite import SampleSpec
from harness.spec.tasks import AttributionTask
from harness.store.cells import CellStore
from harness.store.records import Record
from harness.tasks.attribution import Attribution, evaluate_attribution

SOURCES = ("nature", "deconv", "vq", "gan", "flow")
DESIGNS = {
    "deconv": {"family": "autoencoder", "up": "transposed"},
    "vq": {"family": "autoencoder", "up": "nearest"},
    "gan": {"family": "gan", "up": "transposed"},
    "flow": {"family": "flow", "up": "shuffle"},
}


def attributor(classes: Sequence[str] = SOURCES) -> Card:
    return Card(name="toy.attributor", task="attribution", classes=tuple(classes), heads=())


def logits(subset: str, count: int, skill: float, seed: int, classes: Sequence[str] = SOURCES) -> np.ndarray:
    """Noise, and what ``skill`` adds to the logit of the true source."""
    drawn = np.random.default_rng([seed, *subset.encode()]).normal(size=(count, len(classes)))
    source = "nature" if subset.startswith("nature:") else subset
    return drawn + skill * (np.array(classes) == source)


class Bench:
    """Records of attributors, one cell each subset, and the figures of all that was written."""

    def __init__(self, root: Path, **options: object) -> None:
        self.store = CellStore(root)
        task = {"kind": "attribution", "data": "d", "calibration": None, **options}
        self.task = AttributionTask.model_validate(task)
        self.cells: list[Cell] = []
        self.cards: dict[str, Card] = {}

    def put(
        self,
        model: str,
        said: Mapping[str, Sequence[str | Sequence[float] | None] | np.ndarray],
        split: str = "test",
        condition: str = "none",
        card: Card | None = None,
        order: Sequence[int] | None = None,
    ) -> "Bench":
        """Enter what a model says of each subset's images: a source that it is sure of, logits, or None, a failure."""
        self.cards[model] = card = card or attributor()
        for subset, answers in said.items():
            key = f"{len(self.cells):03}".ljust(64, "0")
            records = []
            for position, image in enumerate(order or range(len(answers))):
                answer = answers[image]
                if isinstance(answer, str):
                    answer = [9.0 * (name == answer) for name in card.classes]
                path, error = f"{split}/{subset}/{image}.png", "image:empty" if answer is None else None
                records.append(Record(position, path, f"{split}/{image}", 1, answer, error))
            self.store.append(key, records)
            sample = SampleSpec()
            self.cells.append(
                Cell(key, "attribution", model, "d", subset, 1, split, condition, len(records), sample, 8)
            )
        return self

    def drawn(
        self,
        model: str,
        skill: float | Mapping[str, float],
        seed: int,
        subsets: Sequence[str] = SOURCES,
        classes: Sequence[str] = SOURCES,
        count: int = 40,
        splits: Sequence[str] = ("val", "test"),
        **options: object,
    ) -> "Bench":
        """Enter a model of some skill on calibration and tested images."""
        for place, split in enumerate(splits):
            said = {
                subset: logits(
                    subset, count, skill[subset] if isinstance(skill, Mapping) else skill, 10 * seed + place, classes
                )
                for subset in subsets
            }
            self.put(model, said, split, card=attributor(classes), **options)
        return self

    def figures(self, resamples: int = 200) -> Attribution:
        return evaluate_attribution(self.task, self.cells, self.cards, self.store, resamples, seed=0)
