"""Found images of a disagreement run beside the pixels that each was searched from. Asks no model, writes nothing."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from harness.card import NAME_PATTERN
from harness.data.inside import read_inside
from harness.data.opening import open_dataset
from harness.data.paired import Paired, named_pairs
from harness.data.sample import Dataset, Sample
from harness.errors import CardError, DataError, ImageError, problem
from harness.events import Events
from harness.images import Image, decode, preprocess
from harness.images.preprocess import Preprocess
from harness.images.quality import distance
from harness.models import VARIANT
from harness.names import slug
from harness.repository import load_entry
from harness.spec.suite import Suite
from harness.spec.tasks import DisagreementTask
from harness.store.found import found_table
from harness.store.runs import RunInfo, RunStore

NEEDED = ("path", "seed", "white", "searcher", "l2")
"""Columns of a manifest of found images that are read here."""


@dataclass(frozen=True)
class _Seeds:
    """Where a run's seeds may be.

    Attributes:
        places: every data set that has one of that name, and its sample there.
        cards: preprocessing of the white models that could be resolved.
    """

    places: Mapping[str, Sequence[tuple[Dataset, Sample]]]
    cards: Mapping[str, Preprocess]


def pair_found(runs: Path, named: str, events: Events) -> Paired:
    """Pair every found image of a run with its seed, cut and resized as the search took it.

    The seed is read through the run's own suite and prepared by the white model's card: the one that the suite gives,
    else that of the suite's repository. Where the manifest says how far the search went, a seed that does not lie that
    far from what was found is refused: data or cards changed since.

    Args:
        runs: folder of all runs.
        named: a run's name, or the path of its folder; paths in its suite start where it was started.
        events: receives progress where data has to be listed anew.

    Raises:
        DataError: no such run, it found nothing, or its data is gone.
        StoreError: its run.json can't be read.
    """
    listed = found_table(runs, Path(), named)
    folder = listed.parent.parent
    store = RunStore(folder.parent.parent)
    info = store.load(folder.name)
    rows = _listed(listed)
    if not rows:
        what, do = f"run {folder.name}", "Search from more seeds, or by other searchers"
        raise DataError(problem(what, "found images", "none", do))
    seeds = _open(info, store, {row["seed"] for row in rows}, {row["white"] for row in rows}, events)
    return Paired(
        slug(folder.name),
        named_pairs(
            (row["path"], (row["seed"], row["searcher"]), partial(_read, listed.parent, row, seeds)) for row in rows
        ),
    )


def _listed(manifest: Path) -> list[dict[str, str]]:
    """Return the rows of a manifest of found images. Raises DataError where it is none."""
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(problem(str(manifest), "CSV in UTF-8", str(error), "Run the suite again")) from error
    for row in rows:
        if any(not isinstance(row.get(name), str) for name in NEEDED):
            got, do = "a row without one", "Run the suite again"
            raise DataError(problem(str(manifest), f"columns {', '.join(NEEDED)}", got, do))
    return rows


def _open(info: RunInfo, store: RunStore, wanted: set[str], whites: set[str], events: Events) -> _Seeds:
    """Open a run's data sets and look seeds and cards up."""
    try:
        suite = Suite.model_validate(info.spec)
    except ValidationError as error:
        do = "Take the version that wrote it"
        raise DataError(problem(f"run {info.id}", "a suite of this version", "another", do)) from error
    here = Path(info.suite).parent
    tasks = [task for task in suite.tasks if isinstance(task, DisagreementTask)]
    places: dict[str, list[tuple[Dataset, Sample]]] = {}
    for name, split in dict.fromkeys((task.data, task.split) for task in tasks):
        data = open_dataset(name, suite.data[name], here, store.manifests, events, (split,))
        for sample in _samples(data, split):
            if sample.path in wanted:
                places.setdefault(sample.path, []).append((data, sample))
    said = {model.name: model.card for model in suite.models if model.card is not None}
    cards = {}
    for white in whites:
        name = white.partition(VARIANT)[0]
        try:
            if white in said:
                cards[white] = said[white].preprocess
            elif re.fullmatch(NAME_PATTERN, name):  # from a file: never a path
                cards[white] = load_entry(here / suite.repository / name).card.preprocess
        except CardError:
            continue
    return _Seeds(places, cards)


def _samples(data: Dataset, split: str) -> Iterator[Sample]:
    for info in data.subsets():
        if info.split == split:
            yield from data.samples(info.subset, split)


def _read(folder: Path, row: Mapping[str, str], seeds: _Seeds) -> tuple[Image, Image]:
    """Return the seed as it was searched from, and what was found.

    Raises:
        ImageError: ``missing``: the found file, the seed or the white model's card; ``changed``: another seed.
    """
    try:
        content = read_inside(folder.resolve(), row["path"])
    except OSError as error:
        got = error.strerror or str(error)
        raise ImageError(
            "missing", problem(row["path"], "a found image of the run", got, "Run the suite again")
        ) from error
    if row["white"] not in seeds.cards:
        do = "Export it into the suite's repository again"
        raise ImageError("missing", problem(f"model {row['white']}", "its card in the repository", "none", do))
    found, spec = decode(content), seeds.cards[row["white"]]
    places = seeds.places.get(row["seed"], ())
    for data, sample in places:
        pixels = preprocess(decode(data.read(sample)), (spec.ready if data.ready else spec).pixels)
        if pixels.shape == found.shape and _as_far(distance(found, pixels).l2, row["l2"]):
            return pixels, found
    if not places:
        raise ImageError("missing", problem(f"seed {row['seed']}", "an image of the run's data", "none", "Restore it"))
    what, do = f"seed {row['seed']}", "Restore the data and the model's card"
    raise ImageError("changed", problem(what, "the pixels that the search began with", "others", do))


def _as_far(l2: float, said: str) -> bool:
    try:
        return not said or math.isclose(l2, float(said), rel_tol=1e-3, abs_tol=1e-3)
    except ValueError:
        return False
