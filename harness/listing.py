"""What a suite or a training file can name, and what is there of it: suites, models, data layouts, tasks, runs ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import yaml

from harness.difference.postprocess import POSTPROCESSORS
from harness.difference.preprocess import PREPROCESSORS
from harness.difference.strategies import STRATEGIES
from harness.extras import load_extra
from harness.images.degrade import DEGRADATIONS
from harness.repository import find_entries
from harness.search.registry import SEARCHERS
from harness.shipped import shipped_suites
from harness.spec.suite import LAYOUTS
from harness.spec.tasks import TASKS
from harness.store.runs import RunStore

Rows = list[tuple[str, str]]


def load_catalog() -> ModuleType:
    """Return the catalogue of exports, which needs torch; raises HarnessError where the extra is not installed."""
    return load_extra("export.catalog")


def load_training() -> ModuleType:
    """Return what trains detectors, which needs torch; raises HarnessError where the extra is not installed."""
    return load_extra("export.training.run")


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _described(suite: Path) -> str:
    return str(yaml.safe_load(suite.read_text(encoding="utf-8")).get("description", ""))


LISTINGS: Mapping[str, Callable[[Path, Path], Rows]] = {
    "suites": lambda repository, out: [(name, _described(path)) for name, path in shipped_suites().items()],
    "models": lambda repository, out: [(entry.name, entry.card.summary) for entry in find_entries(repository, "*")],
    "data": lambda repository, out: list(LAYOUTS.items()),
    "degradations": lambda repository, out: [(name, _first_line(kind)) for name, kind in DEGRADATIONS.items()],
    "searchers": lambda repository, out: [(name, _first_line(kind)) for name, kind in SEARCHERS.items()],
    "strategies": lambda repository, out: [(name, _first_line(kind)) for name, kind in STRATEGIES.items()],
    "preprocessors": lambda repository, out: [(name, _first_line(kind)) for name, kind in PREPROCESSORS.items()],
    "postprocessors": lambda repository, out: [(name, _first_line(kind)) for name, kind in POSTPROCESSORS.items()],
    "tasks": lambda repository, out: [(kind, _first_line(task)) for kind, task in TASKS.items()],
    "exports": lambda repository, out: [(name, item.summary) for name, item in load_catalog().EXPORTS.items()],
    "architectures": lambda repository, out: [
        (name, item.summary) for name, item in load_extra("export.detectors").ARCHITECTURES.items()
    ],
    "attributors": lambda repository, out: [
        (name, f"{item.summary} ({item.source})") for name, item in load_extra("export.attributors").ATTRIBUTORS.items()
    ],
    "augmentations": lambda repository, out: [
        (name, _first_line(kind)) for name, kind in load_extra("export.training.augment").AUGMENTATIONS.items()
    ],
    "runs": lambda repository, out: [(info.id, f"{info.status} {info.verdict or ''}") for info in RunStore(out).all()],
}
"""What can be listed: (model repository, output folder) -> names with a sentence each."""
