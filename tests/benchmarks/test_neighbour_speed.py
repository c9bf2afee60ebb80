"""What passing over an image's own rows and measuring again costs beside bare faiss, by turns in one run.

ROWS rows of 2,048 numbers are searched; DISCERN_ROWS asks for more (100,000 take 819 MB). The floor leaves room for a
busy machine; the measured ratio is in `extra_info`.
"""

import os
from collections.abc import Callable

import faiss
import numpy as np

from harness.fingerprints.neighbours import Neighbours

FLOOR = 0.9
ROWS = int(os.environ.get("DISCERN_ROWS", "10000"))
QUERIES, DIMENSIONS = 128, 2048


def test_nearest_other_image_against_bare_faiss(ratio: Callable[..., float]) -> None:
    random = np.random.default_rng(0)
    rows, queries = (random.random((count, DIMENSIONS), np.float32) for count in (ROWS, QUERIES))
    search = Neighbours(rows, np.arange(ROWS, dtype=np.uint64))
    hashes = np.arange(QUERIES, dtype=np.uint64)
    bare = faiss.IndexFlatL2(DIMENSIONS)
    bare.add(rows)

    def ours() -> object:
        return search.nearest(queries, hashes)

    def theirs() -> object:
        return bare.search(queries, 1)

    assert ratio(ours, theirs, rounds=7) >= FLOOR
