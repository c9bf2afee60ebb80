"""What tells images apart by their pixels, however their files are packed; and a data set's real images as pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from harness.data.sample import REAL, Dataset, Sample
from harness.errors import DataError, HarnessError, problem
from harness.fingerprints.spaces import Images
from harness.images import decode
from harness.images.preprocess import Image, Preprocess, preprocess

Digests = NDArray[np.uint8]
"""A digest an image, uint8 (n, 32)."""

AHEAD = 64
"""Images decoded together."""


def image_digests(images: Iterable[Image]) -> Digests:
    """Return the BLAKE2b digest of each image's size and pixels, uint8 (n, 32)."""
    digests = (
        hashlib.blake2b(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes(), digest_size=32).digest()
        for image in images
    )
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def short(digests: Digests) -> NDArray[np.uint64]:
    """Return the first 64 bits of digests, uint64 (n,)."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0].astype(np.uint64)


def content_hashes(images: Images) -> NDArray[np.uint64]:
    """Return 64 bits that tell an image from others, uint64 (n,)."""
    return short(image_digests(images))


def real_samples(data: Dataset, split: str, limit: int | None = None, seed: int = 0) -> list[Sample]:
    """Return a split's real images, ordered by subset and path; at most ``limit`` of each subset."""
    subsets = [info.subset for info in data.subsets() if info.label == REAL and info.split == split]
    return [
        sample
        for subset in sorted(set(subsets))
        for sample in sorted(data.samples(subset, split, limit, seed), key=lambda sample: sample.path)
        if sample.label == REAL
    ]


def read_pixels(
    data: Dataset, samples: Sequence[Sample], spec: Preprocess, progress: Callable[[int], None] = lambda done: None
) -> Iterator[Image]:
    """Yield images as a model with this preprocessing sees them, uint8 (height, width, 3), all of one size.

    Raises:
        DataError: an image that can't be read, or whose size is another.
    """
    spec = spec.ready.pixels if data.ready else spec.pixels

    def read(sample: Sample) -> Image:
        try:
            return np.asarray(preprocess(decode(data.read(sample)), spec), np.uint8)
        except HarnessError as error:
            raise DataError(f"data {data.name}: {sample.path}: {error}") from error

    size, done, left = None, 0, iter(samples)
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        while chunk := list(islice(left, AHEAD)):
            for sample, image in zip(chunk, pool.map(read, chunk), strict=True):
                size = size or image.shape
                if image.shape != size:
                    got = f"{image.shape[:2]} of {sample.path}"
                    what = f"data {data.name}"
                    raise DataError(problem(what, f"images of {size[:2]} pixels", got, "Use models that crop"))
                yield image
            done += len(chunk)
            progress(done)
