"""Fits references: reads a data set's real images, makes their features block by block, and keeps them on disk."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from harness.data.sample import Dataset, Sample
from harness.errors import CardError, DataError, problem
from harness.events import Events, Silent
from harness.fingerprints.neighbours import Floats, Hashes, check_two_images, learn_centres, recall
from harness.fingerprints.pixels import Digests, image_digests, read_pixels, real_samples, short
from harness.fingerprints.reference import (
    ABOUT,
    CENTRES,
    FEATURES,
    HASHES,
    VERSION,
    About,
    Basis,
    Reference,
    file_digest,
    flat,
    open_reference,
)
from harness.fingerprints.spaces import Features, Images, SpaceName, features
from harness.images.preprocess import Image, Preprocess
from harness.spec.suite import ReferenceSpec, SampleSpec
from harness.store.files import write_atomic, writing


@dataclass(frozen=True)
class Embedder:
    """A model that answers with embeddings.

    Attributes:
        name: of its card.
        weights_sha256: digest of its weights.
        preprocess: what it sees of an image.
        batch: images asked about together.
        ask: its answers, float32 (n, dimensions).
    """

    name: str
    weights_sha256: str
    preprocess: Preprocess
    batch: int
    ask: Callable[[Images], Features]

    def __call__(self, images: Images) -> Features:
        """Return embeddings, float32 (n, dimensions), asked for in batches."""
        starts = range(0, len(images), self.batch)
        return np.concatenate([self.ask(images[start : start + self.batch]) for start in starts])


def fit_reference(
    spec: ReferenceSpec,
    data: Dataset,
    preprocess: Preprocess,
    folder: Path,
    embed: Embedder | None = None,
    events: Events | None = None,
    sample: SampleSpec | None = None,
) -> Reference:
    """Open the reference that is kept under ``folder``, or fit and keep it.

    Args:
        spec: which images and which space.
        data: the data set that the specification names.
        preprocess: what the models do to an image.
        folder: of all references.
        embed: the embedder that the specification names.
        events: receives progress.
        sample: how many images of each subset.

    Raises:
        DataError: no real images, or some that can't be read.
        CardError: an embedder is missing, is another one, or does not see what the models see.
        StoreError: what is kept was changed, or the disk refuses.
    """
    events, sample = events or Silent(), sample or SampleSpec()
    check_embedder(spec, preprocess, embed)
    samples = real_samples(data, spec.split, sample.per_subset, sample.seed)
    if not samples:
        raise DataError(problem(f"reference {data.name}/{spec.split}", "real images", "none", "Name another split"))
    digests = _digests(data, samples, preprocess, folder, events)
    hashes = short(digests)
    check_two_images(hashes)
    basis = Basis(
        space=spec.space,
        embedder=embed.weights_sha256 if embed else "",
        images=hashlib.sha256(digests.tobytes()).hexdigest(),
        index=spec.index,
    )
    place = folder / basis.identity[:12]
    if not (place / ABOUT).is_file():
        images = _watched(data, samples, preprocess, f"reference in space {spec.space}", events)
        _fit(place, spec, basis, preprocess, images, hashes, embed)
    return open_reference(place)


def check_embedder(spec: ReferenceSpec, preprocess: Preprocess, embed: Embedder | None) -> None:
    """Refuse an embedder that is missing, another one, or does not see what the models see. Raises CardError."""
    got = embed.name if embed else "none"
    if got != (spec.embedder or "none"):
        raise CardError(problem(f"reference in space {spec.space}", f"embedder {spec.embedder}", got, "Open that one"))
    if embed is None:
        return
    if not embed.weights_sha256:
        raise CardError(problem(f"embedder {got}", "an endpoint that states its weights", "none", "Export it again"))
    if embed.preprocess.model_copy(update={"pad": preprocess.pad}) != preprocess.pixels:
        expected = f"what the models of artifacts see ({preprocess.pixels!r})"
        raise CardError(problem(f"embedder {got}", expected, repr(embed.preprocess), "Use an embedder of that size"))


def _digests(data: Dataset, samples: Sequence[Sample], preprocess: Preprocess, folder: Path, events: Events) -> Digests:
    """Return the images' digests, kept by those of their files, so that one look at a manifest will do."""
    said = [VERSION, preprocess.pixels.model_dump(), data.ready, [sample.sha256 for sample in samples]]
    kept = folder / "pixels" / f"{hashlib.sha256(json.dumps(said).encode()).hexdigest()}.bin"
    if kept.is_file() and kept.stat().st_size == 32 * len(samples):
        return np.frombuffer(kept.read_bytes(), np.uint8).reshape(-1, 32)
    digests = image_digests(_watched(data, samples, preprocess, "reading the reference", events))
    write_atomic(kept, digests.tobytes())
    return digests


def _watched(
    data: Dataset, samples: Sequence[Sample], preprocess: Preprocess, task: str, events: Events
) -> Iterator[Image]:
    events.begin(task, len(samples), "images")
    try:
        yield from read_pixels(data, samples, preprocess, lambda done: events.advance(done, len(samples)))
    finally:
        events.end()


def _fit(
    place: Path,
    spec: ReferenceSpec,
    basis: Basis,
    preprocess: Preprocess,
    images: Iterator[Image],
    hashes: Hashes,
    embed: Embedder | None,
) -> None:
    """Write a reference whole or not at all."""
    started = time.perf_counter()
    with writing(place, folder=True) as part:
        rows, shape = _write_features(part / FEATURES, basis.space, images, len(hashes), embed)
        np.save(part / HASHES, hashes)
        found = None
        if spec.index == "approximate":
            np.save(part / CENTRES, centres := learn_centres(rows))
            found = recall(rows, hashes, centres)
        about = About(
            identity=basis.identity,
            basis=basis,
            data=spec.data,
            split=spec.split,
            preprocess=preprocess.pixels,
            embedder=spec.embedder or "",
            count=len(hashes),
            shape=shape,
            recall=found,
            seconds=round(time.perf_counter() - started, 3),
            files={item.name: file_digest(item) for item in sorted(part.iterdir())},
        )
        (part / ABOUT).write_text(about.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _write_features(
    path: Path, space: SpaceName, images: Iterator[Image], count: int, embed: Embedder | None
) -> tuple[Floats, tuple[int, ...]]:
    """Write features block by block; return the rows, on disk, and the shape of one image's."""
    shape: tuple[int, ...] = ()
    block = embed.batch if embed else 16
    with path.open("wb") as file:  # not as mapped memory: on a full disk that kills the process
        while chunk := list(islice(images, block)):
            made = features(space, np.stack(chunk), embed)
            if not np.isfinite(made).all():
                do = "Export the embedder"
                raise CardError(problem(f"reference in space {space}", "numbers", "NaN or infinity", do))
            if not shape:
                shape = made.shape[1:]
                said = {"descr": "<f4", "fortran_order": False, "shape": (count, int(np.prod(shape)))}
                write_array_header_1_0(file, said)
            file.write(np.ascontiguousarray(flat(made), "<f4").tobytes())
    return np.load(path, mmap_mode="r"), shape
