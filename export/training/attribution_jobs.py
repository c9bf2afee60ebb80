"""From a training file to attributors: one job each, its images chosen and checked before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.attributors import ATTRIBUTORS, Attributor, Recipe
from export.training.attributor_spec import AttributorSpec
from export.training.jobs import check_apart, check_once, images_of, known_ones
from export.training.represented import Represented, represented
from harness.data.sample import NATURE, REAL, Dataset, Sample
from harness.errors import CardError, DataError, problem
from harness.fingerprints.pixels import real_samples
from harness.keys import content_key
from harness.names import did_you_mean, matching, unmatched

Places = NDArray[np.int64]


@dataclass(frozen=True)
class AttributionJob:
    """One attributor to train.

    Attributes:
        name: of its entry.
        method: what it is.
        spec: what the file says.
        seed: of weights and order.
        recipe: the method's, with what the file changes.
        shown: what it is shown: representations of images, a row each; other jobs may share them.
        sources: that it tells apart, ``nature`` last.
        targets: each row's source, int64; -1 where it is left out.
        train, validation: rows of each, int64.
        key: digest of everything that its weights follow from.
    """

    name: str
    method: Attributor
    spec: AttributorSpec
    seed: int
    recipe: Recipe
    shown: Represented
    sources: tuple[str, ...]
    targets: Places
    train: Places
    validation: Places
    key: str


def make_attribution_jobs(
    specs: Iterable[AttributorSpec], datasets: Mapping[str, Dataset], repository: Path
) -> list[AttributionJob]:
    """Return a file's attributors, in its order, those of one method together.

    Args:
        specs: what the file says.
        datasets: its data sets, open.
        repository: where embedders are found.

    Raises:
        CardError: a method or an embedder that is not there, or two attributors of one name.
        DataError: a source that is not there or has no images, fewer than two, or a reference that is missing or shares
            an image with the data.
    """
    jobs = [job for spec in specs for job in _jobs(spec, datasets, repository)]
    check_once("attributors", [job.name for job in jobs])
    return jobs


def _jobs(spec: AttributorSpec, datasets: Mapping[str, Dataset], repository: Path) -> Iterable[AttributionJob]:
    data = datasets[spec.data]
    chosen = _sources(spec, data)
    samples = [item for split in (spec.split, spec.validation) for item in _of(data, spec, split)]
    images = images_of(data, samples)
    targets = np.array([chosen.index(name) if name in chosen else -1 for name in map(source, samples)], np.int64)
    train, validation = (
        np.flatnonzero([item.split == split and source(item) in chosen for item in samples])
        for split in (spec.split, spec.validation)
    )
    _check(data, spec, chosen, {key: targets[rows] for key, rows in (("train", train), ("validation", validation))})
    train_on = [item for item in samples if item.split == spec.split]
    for split in sorted({info.split for info in data.subsets()} - {spec.split}):
        others = (item for info in data.subsets() if info.split == split for item in data.samples(info.subset, split))
        check_apart(data, train_on, others, f"images of split {split}")
    reference = datasets[spec.reference] if spec.reference else None
    if reference is not None:
        _check_reference(reference, data)
    for method in known_ones("method of attribution", spec.method, ATTRIBUTORS):
        preprocess = method.preprocess[spec.scale]
        if spec.side is not None:
            preprocess = preprocess.model_copy(update={"resize": preprocess.resize and spec.side, "crop": spec.side})
        shown = represented(method.represent[spec.scale], preprocess, images, reference, repository, spec.index)
        recipe = _recipe(method, spec)
        for seed in spec.seed:
            said = {
                "method": method.name,
                "scale": spec.scale,
                "recipe": recipe.model_dump(mode="json"),
                "shown": shown.key,
                "filter": method.filter,
                "sources": chosen,
                "rows": [hashlib.sha256(rows.tobytes()).hexdigest() for rows in (targets, train, validation)],
                "seed": seed,
            }
            key = content_key(said)
            name = f"{method.name}.{spec.tag.replace('{seed}', str(seed))}"
            yield AttributionJob(name, method, spec, seed, recipe, shown, chosen, targets, train, validation, key)


def _recipe(method: Attributor, spec: AttributorSpec) -> Recipe:
    """Return a method's recipe with what the file changes; one that takes no steps stays as it is.

    Raises:
        CardError: no step where the method takes some, or a crop of what is no picture.
    """
    own = method.recipes[spec.scale]
    if not own.epochs:
        return own
    recipe = Recipe.model_validate({**own.model_dump(), **spec.recipe})
    if not recipe.epochs:
        raise CardError(problem(f"recipe of {method.name}: epochs", "1 or more", "0", "Correct it"))
    if recipe.crop and not own.crop:
        do = "Give crop to methods that are asked about pictures alone"
        raise CardError(problem(f"recipe of {method.name}: crop", "none", str(recipe.crop), do))
    return recipe


def source(sample: Sample) -> str:
    """Return what an attributor is to answer of an image: its generator, or ``nature``."""
    return NATURE if sample.label == REAL else sample.subset


def _sources(spec: AttributorSpec, data: Dataset) -> tuple[str, ...]:
    """Return the sources of a data set that are shown, reals last.

    Raises:
        DataError: one that is left out is not there, or fewer than two are left.
    """
    infos = [item for item in data.subsets() if item.split == spec.split]
    generators = list(dict.fromkeys(item.subset for item in infos if item.label != REAL))
    there = [*generators, *([NATURE] if len(generators) < len(infos) else [])]
    what = f"{data.name}, split {spec.split}"
    if (pattern := unmatched(spec.leave_out, generators)) is not None:
        got = ", ".join(generators) or "none"
        hint = did_you_mean(pattern, generators)
        raise DataError(problem(f"leave_out: generators of {what}", repr(pattern), got, hint))
    out = set(matching(spec.leave_out, generators))
    kept = tuple(name for name in there if name not in out)
    if len(kept) < 2:
        do = "Name a data set with generators and real images, or leave fewer out"
        raise DataError(problem(f"sources of {what}", "two or more to tell apart", ", ".join(kept) or "none", do))
    return kept


def _of(data: Dataset, spec: AttributorSpec, split: str) -> Iterable[Sample]:
    """Yield a split's images, at most so many of each source."""
    infos = [item for item in data.subsets() if item.split == split]
    reals = sum(item.label == REAL for item in infos)
    for info in infos:
        share = reals if info.label == REAL else 1
        yield from data.samples(info.subset, split, spec.samples and max(1, spec.samples // share))


def _check(data: Dataset, spec: AttributorSpec, sources: tuple[str, ...], parts: Mapping[str, Places]) -> None:
    """Raise DataError where a source has no images to train on or to validate with."""
    for part, targets in parts.items():
        if missing := [name for place, name in enumerate(sources) if place not in set(targets.tolist())]:
            split = spec.split if part == "train" else spec.validation
            what = f"{data.name}, split {split}: images to {'train on' if part == 'train' else 'validate with'}"
            raise DataError(problem(what, "some of every source", f"none of {', '.join(missing)}", "Check the layout"))


def _check_reference(other: Dataset, data: Dataset) -> None:
    """Check the real training images that artifacts are taken against.

    Raises:
        DataError: there are none, or one is an image of the data, of whatever split.
    """
    rows = real_samples(other, "train")
    if not rows:
        do = "Name a data set with real images in that split"
        raise DataError(problem(f"reference {other.name}", "real images in split train", "none", do))
    known = {item.sha256: item.path for item in rows}
    for info in data.subsets():
        for sample in data.samples(info.subset, info.split):
            if sample.sha256 in known:
                got = f"{known[sample.sha256]}, which is {sample.path} of {data.name}"
                do = "Take a reference of other real images: an image's artifact against itself is nothing"
                raise DataError(problem(f"reference {other.name}", f"no image of {data.name}", got, do))
