"""From a difference task to its cells: which drawings of which pairs, each under its content hash. Draws nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import cams
from harness.data.spots import PairSet
from harness.data.spots.pairs import Split
from harness.difference.method import Method, postprocess_id
from harness.difference.strategies import TORCH, GradCam, Strategy
from harness.environment import source_digest
from harness.errors import SuiteError, problem
from harness.extras import load_extra
from harness.keys import content_key
from harness.names import select
from harness.spec.tasks import DifferenceTask


@dataclass(frozen=True, slots=True)
class DifferenceCell:
    """One (task, drawing, subset, degradation), a drawing being a method up to its map.

    Attributes:
        key: SHA-256 of everything that the figures depend on.
        task: its name.
        methods: those that share the drawing; they differ in their post-processors.
        subset, split: which pairs.
        degradation: canonical id, of the second image.
        pairs: how many.
    """

    key: str
    task: str
    methods: tuple[Method, ...]
    subset: str
    split: Split
    degradation: str
    pairs: int

    @property
    def records(self) -> int:
        """How many records it has."""
        return self.pairs * len(self.methods)

    @property
    def name(self) -> str:
        """Readable address, unique in a plan."""
        return "/".join((self.task, drawing_id(self.methods[0]), self.subset, self.split, self.degradation))


def drawing_id(method: Method) -> str:
    """Return what a method's map depends on: all but its post-processors."""
    return f"{method.strategy.id} | {method.preprocess.id} | {method.registration.id}"


def difference_cells(
    task: DifferenceTask, pairs: PairSet, identities: Mapping[str, Mapping[str, object]], limit: int | None, seed: int
) -> Iterator[DifferenceCell]:
    """Yield a task's cells.

    Args:
        task: its spec.
        pairs: its pairs.
        identities: what the answers of each gradcam model depend on, by its name.
        limit: at most so many pairs of each subset.
        seed: of the degradations.

    Raises:
        SuiteError: no pairs in a split, a subset that matches none, or a strategy whose model the suite does not name.
        HarnessError: a strategy needs an extra that is not installed.
    """
    methods = list(dict.fromkeys([*task.methods.methods(), task.baseline.method()]))
    drawings: dict[str, list[Method]] = {}
    for method in methods:
        drawings.setdefault(drawing_id(method), []).append(method)
    asks = {name: _asks(mine[0].strategy, identities) for name, mine in drawings.items()}
    code = [source_digest(part) for part in ("difference", "metrics", "images")]
    splits: list[Split] = [task.split, *([task.calibration] if task.calibration else [])]
    for split in splits:
        counts = pairs.subsets(split)
        for subset in _subsets(task, split, list(counts)):
            count = min(counts[subset], limit or counts[subset])
            for degradation in task.degradations:
                for name, mine in drawings.items():
                    said = {
                        "pairs": pairs.digest,
                        "where": [subset, split, count],
                        "degradation": degradation,
                        "seed": seed,
                        "drawing": name,
                        "postprocess": [postprocess_id(method.postprocess) for method in mine],
                        "asks": asks[name],
                        "code": code,
                    }
                    key = content_key(said)
                    yield DifferenceCell(key, task.name, tuple(mine), subset, split, degradation, count)


def _subsets(task: DifferenceTask, split: Split, known: Sequence[str]) -> list[str]:
    if not known:
        what, do = f"task {task.name}", "Name another split, or `calibration: null`"
        raise SuiteError(problem(what, f"pairs of split {split}", "none", do))
    return select(task.subsets, known, f"task {task.name}: subsets")


def _asks(strategy: Strategy, identities: Mapping[str, Mapping[str, object]]) -> object:
    """Return what a strategy's answers depend on beside the images: weights, and code outside this package."""
    if isinstance(strategy, GradCam):
        if strategy.model not in identities:
            what, got = f"strategy {strategy.id}", ", ".join(identities) or "none"
            raise SuiteError(problem(what, "a gradcam model among the suite's `models`", got, "Name it there"))
        return [dict(identities[strategy.model]), _digest(Path(cams.__file__))]
    if not strategy.needs_torch:
        return None
    code = [_digest(path) for path in sorted(Path(str(load_extra(TORCH).__file__)).parent.glob("*.py"))]
    _, _, file = (getattr(strategy, "weights", None) or "").partition(":")
    if not file:
        return code
    try:
        return [*code, _digest(Path(file).expanduser())]
    except OSError as error:
        what, do = f"strategy {strategy.id}: weights", "Name a file of torchvision's weights"
        raise SuiteError(problem(what, f"a readable file {file}", error.strerror or str(error), do)) from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
