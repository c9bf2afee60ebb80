"""From a training file to jobs: one detector each, its images chosen and checked before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import nsmallest
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from export.detectors import ARCHITECTURES, Architecture
from export.training.recipe import Recipe
from export.training.spec import DetectorSpec, FromData, FromSplit, Training
from harness.data.manifest import SCHEMA
from harness.data.sample import FAKE, NATURE, REAL, Dataset, Sample, reals_for
from harness.errors import CardError, DataError, problem
from harness.keys import content_key
from harness.names import did_you_mean, matching, unmatched

T = TypeVar("T")

ROWS = 4096
"""Rows turned into columns at once."""


@dataclass(frozen=True)
class Images:
    """Images of a data set, as manifest rows; a mapping of positions to samples.

    Attributes:
        data: where they are read.
        rows: their rows.
    """

    data: Dataset
    rows: pa.Table

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __getitem__(self, position: int) -> Sample:
        return Sample(**self.rows.slice(position, 1).to_pylist()[0])

    @property
    def labels(self) -> list[int]:
        """0 real, 1 fake."""
        return list(self.rows["label"].to_pylist())

    @property
    def digest(self) -> str:
        """SHA-256 over the images' own and their labels, hex."""
        digest = hashlib.sha256()
        for batch in self.rows.select(["sha256", "label"]).to_batches():
            digest.update(repr(batch.to_pydict()).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Job:
    """One detector to train.

    Attributes:
        name: of its entry.
        architecture: what it is.
        spec: what the file says.
        seed: of everything drawn.
        generators: whose fakes it is trained on.
        recipe: the architecture's, with what the file changes.
        train, validation: its images; no image is in both, or in the split that suites test.
        key: digest of everything that its weights follow from.
    """

    name: str
    architecture: Architecture
    spec: DetectorSpec
    seed: int
    generators: tuple[str, ...]
    recipe: Recipe
    train: Images
    validation: Images
    key: str


def make_jobs(training: Training, datasets: Mapping[str, Dataset], init_digest: Callable[[str], str]) -> list[Job]:
    """Return a file's jobs, in its order.

    Args:
        training: the file.
        datasets: its data sets, open.
        init_digest: returns the digest of a file of first weights.

    Raises:
        CardError: an architecture that is not known, or two detectors of one name.
        DataError: a generator that is not there, a class without images, or an image on both sides.
    """
    jobs: list[Job] = []
    for spec, seed in ((item, seed) for item in training.detectors for seed in item.seed):
        data = datasets[spec.data]
        there = generators_of(spec, data)
        for generators in [there] if spec.mixed else [(name,) for name in there]:
            train, validation = choose(spec, data, generators, seed, spec.images, spec.classes)
            for architecture in known_ones("architecture", spec.architecture, ARCHITECTURES):
                own = generators[0] if len(generators) == 1 else "mixed"
                tag = spec.tag.replace("{generator}", own).replace("{seed}", str(seed))
                recipe = Recipe.model_validate({**architecture.recipes[spec.scale].model_dump(), **spec.recipe})
                said = {
                    "architecture": architecture.name,
                    "scale": spec.scale,
                    "recipe": recipe.model_dump(mode="json"),
                    "train": train.digest,
                    "validation": validation.digest,
                    "init": init_digest(spec.init) if spec.init not in ("", "scratch", "imagenet") else spec.init,
                    "freeze": spec.freeze,
                    "seed": seed,
                    "precision": training.precision,
                    "accumulate": training.accumulate,
                }
                key = content_key(said)
                name = f"{architecture.name}.{tag}"
                jobs.append(Job(name, architecture, spec, seed, generators, recipe, train, validation, key))
    check_once("detectors", [job.name for job in jobs])
    return jobs


def check_once(what: str, names: Sequence[str]) -> None:
    """Refuse names that are used twice.

    Raises:
        CardError: with all of them.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CardError(problem(what, "names used once", ", ".join(twice), "Give them different tags"))


def known_ones(what: str, patterns: Sequence[str], known: Mapping[str, T]) -> list[T]:
    """Return what a file's wildcards mean.

    Args:
        what: what they are, for the complaint.
        patterns: the wildcards.
        known: all there are, by name.

    Raises:
        CardError: one that means none.
    """
    if (pattern := unmatched(patterns, known)) is not None:
        raise CardError(problem(what, "a known one", repr(pattern), did_you_mean(pattern, list(known))))
    return [known[name] for name in matching(patterns, known)]


def generators_of(spec: FromData, data: Dataset) -> tuple[str, ...]:
    """Return the generators that a spec's wildcards name.

    Raises:
        DataError: no such generator.
    """
    there = list(dict.fromkeys(i.subset for i in data.subsets() if i.label == FAKE and i.split == spec.split))
    if (pattern := unmatched(spec.generators, there)) is not None:
        what = f"generators of {data.name}, split {spec.split}"
        hint = did_you_mean(pattern, there) if there else "Build or name a data set with that split"
        raise DataError(problem(what, repr(pattern), ", ".join(there) or "none", hint))
    return tuple(matching(spec.generators, there))


def choose(
    spec: FromData,
    data: Dataset,
    generators: tuple[str, ...],
    seed: int,
    images: int | None = None,
    classes: int | None = None,
) -> tuple[Images, Images]:
    """Return training and validation images, the reals of each first.

    Args:
        spec: says which split, and what validates.
        data: the data set.
        generators: whose fakes.
        seed: of what is drawn.
        images: at most so many training images of each class.
        classes: at most so many sources or classes of training images.

    Raises:
        DataError: a class has no image, or an image is on both sides, or in the split that suites test.
    """
    own = isinstance(spec.validation, FromSplit)
    share = 0.0 if isinstance(spec.validation, FromSplit) else spec.validation.share
    split = spec.validation.split if isinstance(spec.validation, FromSplit) else spec.split
    train: list[Sample] = []
    validation: list[Sample] = []
    for label in (REAL, FAKE):
        rows = [item for item in _of(data, generators, spec.split, label) if own or not _drawn(seed, item, share)]
        kept = _fewer(rows, seed, images, classes)
        held = [item for item in _of(data, generators, split, label) if own or _drawn(seed, item, share)]
        for part, items in (("train on", kept), ("validate with", held)):
            if not items:
                what = f"{data.name}: {'fake' if label == FAKE else 'real'} images of {', '.join(generators)}"
                raise DataError(problem(what, f"some to {part}", "none", "Check the layout and the splits"))
        train += kept
        validation += held
    check_apart(data, train, validation, "validation images")
    tested = {item.split for item in data.subsets()} - {spec.split, split, "train", "val"}
    for name in sorted(tested):
        there = (item for label in (REAL, FAKE) for item in _of(data, generators, name, label))
        check_apart(data, train, there, f"images of split {name}")
    return images_of(data, train), images_of(data, validation)


def _of(data: Dataset, generators: Iterable[str], split: str, label: int) -> Iterator[Sample]:
    """Yield the fakes of some generators, or the reals that they are held against, each once."""
    names = {item.subset for item in data.subsets() if item.split == split}
    if label == FAKE:
        subsets = [name for name in generators if name in names]
    else:
        reals = {name for name in names if name.split(":")[0] == NATURE}
        subsets = list(dict.fromkeys(real for name in generators for real in reals_for(name, reals)))
    for subset in subsets:
        yield from data.samples(subset, split)


def _fewer(rows: list[Sample], seed: int, images: int | None, classes: int | None) -> list[Sample]:
    """Return the images that the limits leave: whole classes first, then single images."""
    if classes is not None:
        there = {content(item) for item in rows}
        kept = set(nsmallest(classes, there, key=lambda name: _draw(seed, name)))
        rows = [item for item in rows if content(item) in kept]
    if images is not None:
        wanted = set(nsmallest(images, (_draw(seed, item.source + item.subset) for item in rows)))
        rows = [item for item in rows if _draw(seed, item.source + item.subset) in wanted]
    return rows


def content(sample: Sample) -> str:
    """Return what an image shows: its class, or where it has none the photograph that its source is cut from."""
    return str(sample.target) if sample.target is not None else sample.source.partition("-")[0]


def _drawn(seed: int, sample: Sample, share: float) -> bool:
    """Whether a seeded hash puts a sample's source among the validation images."""
    return int.from_bytes(_draw(seed, sample.source)[:8], "big") < share * 2**64


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{name}".encode()).digest()


def check_apart(data: Dataset, train: Collection[Sample], others: Iterable[Sample], what: str) -> None:
    """Refuse other images that are trained on.

    Args:
        data: the data set of both.
        train: what is trained on.
        others: what must not be.
        what: the others, in words.

    Raises:
        DataError: some are the same, by their files' digests.
    """
    known = {item.sha256: item.path for item in train}
    shared = [(known[item.sha256], item.path) for item in others if item.sha256 in known]
    if shared:
        got = f"{len(shared):,} shared, {shared[0][0]} is {shared[0][1]}"
        raise DataError(problem(f"{data.name}: {what}", "none that is trained on", got, "Remove them from one side"))


def images_of(data: Dataset, samples: Iterable[Sample]) -> Images:
    """Return samples of a data set as rows."""
    waiting = iter(samples)
    parts = []
    while block := list(islice(waiting, ROWS)):
        parts.append(pa.Table.from_pylist([asdict(item) for item in block], schema=SCHEMA))
    return Images(data, pa.concat_tables(parts).combine_chunks() if parts else SCHEMA.empty_table())
