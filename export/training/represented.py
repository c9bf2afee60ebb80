"""What images are to attributors, computed once and kept on disk for all that are trained on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from export.onnx import file_sha256
from export.training.jobs import Images as Rows
from harness.backends.base import EndpointOptions
from harness.data.sample import Dataset
from harness.errors import CardError, problem
from harness.events import Events
from harness.fingerprints.fitting import Embedder, fit_reference
from harness.fingerprints.neighbours import Index
from harness.fingerprints.pixels import read_pixels
from harness.fingerprints.reference import VERSION
from harness.fingerprints.representations import Artifact, parse_representation
from harness.fingerprints.spaces import Images
from harness.images.preprocess import Preprocess
from harness.keys import content_key
from harness.models import expand, open_models
from harness.references import embedder_of
from harness.repository import Entry, find_entries
from harness.spec.suite import ModelSpec, ReferenceSpec
from harness.store.files import write_atomic

BATCH = 32
"""Images represented at once."""

VALUES, REFERENCE = "values.npy", "reference.json"

Values = NDArray[Any]
"""A row an image: uint8 (n, H, W, 3), or float32 (n, ...); read from disk as it is used."""


@dataclass(frozen=True)
class Represented:
    """Images as attributors are asked about them, before anything is computed.

    Attributes:
        represent: canonical id; empty: images as they are.
        preprocess: what makes an image uint8 (H, W, 3).
        images: which, a row each.
        reference: whose real training images artifacts are taken against; None where there are no artifacts.
        embedder: the model of an embedding; None where there is none.
        index: how the reference's neighbours are searched.
        key: digest of all of that.
    """

    represent: str
    preprocess: Preprocess
    images: Rows
    reference: Dataset | None
    embedder: Entry | None
    index: Index
    key: str


@dataclass(frozen=True)
class Found:
    """Representations that are computed.

    Attributes:
        values: they, a row an image.
        reference: identity of the reference; empty where there is none.
        facts: what a card says of the reference beside that.
    """

    values: Values
    reference: str
    facts: dict[str, str]


def represented(
    represent: str, preprocess: Preprocess, images: Rows, reference: Dataset | None, repository: Path, index: Index
) -> Represented:
    """Check what a representation needs, and name it.

    Args:
        represent: its id; empty: images as they are.
        preprocess: what makes an image uint8 (H, W, 3).
        images: which.
        reference: of the artifacts, where the training file names one.
        repository: where an embedder is found.
        index: how neighbours are searched.

    Raises:
        CardError: artifacts without a reference, or an embedder that is not there or takes images of another size.
    """
    parsed = parse_representation(represent) if represent else None
    artifact = parsed if isinstance(parsed, Artifact) else None
    if artifact is not None and reference is None:
        do = "Name a data set of other real images under reference"
        raise CardError(problem(represent, "a reference", "none", do))
    embedder = None
    if artifact is not None and artifact.embedder:
        (embedder,) = find_entries(repository, artifact.embedder)
        if embedder.card.preprocess.pixels != preprocess:
            got, do = repr(embedder.card.preprocess.pixels), "Leave side out, or train an embedder of that size"
            raise CardError(problem(f"embedder {embedder.name}", f"one that sees {preprocess!r}", got, do))
    kept = parsed.id if parsed else ""
    said = {
        "represent": kept,
        "preprocess": preprocess.model_dump(),
        "images": images.digest,
        "reference": reference.digest if artifact is not None and reference is not None else "",
        "embedder": file_sha256(embedder.model_file) if embedder else "",
        "index": index,
        "ready": images.data.ready,
        "version": VERSION,
    }
    key = content_key(said)
    return Represented(kept, preprocess, images, reference if artifact is not None else None, embedder, index, key)


def compute(asked: Represented, folder: Path, events: Events) -> Found:
    """Return the representations of all images, from disk where they were computed before.

    Args:
        asked: of which.
        folder: of all representations; references lie in it, too.
        events: receives progress.
    """
    place = folder / asked.key[:16]
    if not (place / VALUES).is_file():
        with _made(asked, folder / "references", events) as (make, said):
            write_atomic(place / REFERENCE, json.dumps(said).encode())
            _write(asked, make, place / VALUES, events)
    said = json.loads((place / REFERENCE).read_text(encoding="utf-8"))
    return Found(np.load(place / VALUES, mmap_mode="r", allow_pickle=False), **said)


def _write(asked: Represented, make: Callable[[Images], Values], path: Path, events: Events) -> None:
    """Write the values whole or not at all."""
    samples = [asked.images[place] for place in range(len(asked.images))]
    events.begin(asked.represent or "images", len(samples), "images")
    rows: Values | None = None
    with TemporaryDirectory(dir=path.parent, prefix=".values.") as temporary:
        pixels, done = read_pixels(asked.images.data, samples, asked.preprocess), 0
        while block := list(islice(pixels, BATCH)):
            made = make(np.stack(block))
            if rows is None:
                rows = open_memmap(Path(temporary) / VALUES, "w+", made.dtype, (len(samples), *made.shape[1:]))
            rows[done : done + len(made)] = made
            events.advance(done := done + len(made), len(samples))
        assert isinstance(rows, np.memmap), "jobs have images"
        rows.flush()
        (Path(temporary) / VALUES).replace(path)
    events.end()


@contextmanager
def _made(
    asked: Represented, references: Path, events: Events
) -> Iterator[tuple[Callable[[Images], Values], dict[str, Any]]]:
    """Yield what makes the representation, and what is known of its reference."""
    none = {"reference": "", "facts": {}}
    if not asked.represent:
        yield lambda images: images, none
        return
    parsed = parse_representation(asked.represent)
    if not isinstance(parsed, Artifact) or asked.reference is None:
        yield parsed.bind(), none
        return
    spec = ReferenceSpec(
        data=asked.reference.name, split="train", space=parsed.space, embedder=parsed.embedder, index=asked.index
    )
    with _opened(asked.embedder) as embed:
        reference = fit_reference(spec, asked.reference, asked.preprocess, references, embed, events)
        yield parsed.bind([reference], embed), {"reference": reference.identity, "facts": reference.facts}


@contextmanager
def _opened(entry: Entry | None) -> Iterator[Embedder | None]:
    """Yield an embedder, answering in this process."""
    if entry is None:
        yield None
        return
    spec = ModelSpec(name=entry.name, options=EndpointOptions(batch=BATCH))
    with open_models(expand([spec], entry.folder.parent)) as models:
        yield embedder_of(models[entry.name])
