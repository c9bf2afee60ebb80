"""The nearest other image: exact search by faiss, or approximate with its recall measured. Fits and stores nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, problem

Floats = NDArray[np.float32]
Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Distances = NDArray[np.float64]

Index = Literal["exact", "approximate"]
"""How neighbours are searched."""

CANDIDATES = 4
"""Rows asked for at first. They are measured again in float64, so that neither rounding nor the size of a batch
decides between rows that are nearly as near."""

LARGEST = 1e15
"""Bound of a feature's magnitude; squares of larger ones may not be float32 any more."""

BLOCK = 2**24
"""Values of queries searched at once."""

PROBED = 8
"""One cluster in so many is searched, where the search is approximate."""

SAMPLE = 64
"""Rows a cluster that clusters are learned from."""


class Neighbours:
    """Rows that are searched for the nearest. Safe to ask from several threads.

    Args:
        features: float32 (rows, dimensions); may lie on disk.
        hashes: of the rows' images, uint64 (rows,).
        centres: of the clusters, float32 (clusters, dimensions); None where the search is exact.

    Raises:
        DataError: all rows are of one image, which would leave it without a neighbour.
    """

    def __init__(self, features: Floats, hashes: Hashes, centres: Floats | None = None) -> None:
        check_two_images(hashes)
        self.features, self.hashes = features, hashes
        self._clustered = None if centres is None else _clustered(features, centres)

    def nearest(self, queries: Floats, hashes: Hashes) -> tuple[Rows, Distances]:
        """Return each query's nearest row that shows another image; of equally near ones the first.

        Args:
            queries: float32 (n, dimensions).
            hashes: of the queries' images, uint64 (n,); rows with the same are passed over.

        Returns:
            Rows, int64 (n,), and squared L2 distances, float64 (n,).

        Raises:
            DataError: queries with NaN, infinity or numbers whose squares are, which are near nothing.
        """
        if not (np.abs(queries) < LARGEST).all():
            raise DataError(
                problem("features", f"numbers below {LARGEST:g}", "larger ones or NaN", "Check the embedder")
            )
        rows, distances = np.full(len(queries), -1), np.full(len(queries), np.inf)
        for start in range(0, len(queries), step := max(1, BLOCK // self.features.shape[1])):
            block = slice(start, start + step)
            for places, candidates in self._candidates(queries[block], hashes[block]):
                at = places + start
                rows[at], distances[at] = self._best(queries[at], hashes[at], candidates)
        return rows, distances

    def _candidates(self, queries: Floats, hashes: Hashes) -> Iterator[tuple[Rows, Rows]]:
        """Yield places of queries with rows near them, among which is another image; ask for more where none is."""
        import faiss  # slow to import, and most runs need no neighbours

        open_, most, clustered = np.arange(len(queries)), CANDIDATES, self._clustered
        while len(open_):
            k = min(most, len(self.features))
            if clustered is not None:
                _, found = clustered.search(queries[open_], k)
            else:
                _, found = faiss.knn(queries[open_], self.features, k)
            done = self._others(found, hashes[open_]).any(axis=1)
            yield open_[done], found[done]
            open_, most, clustered = open_[~done], most * CANDIDATES, None

    def _others(self, found: Rows, hashes: Hashes) -> NDArray[np.bool_]:
        others: NDArray[np.bool_] = (found >= 0) & (self.hashes[found] != hashes[:, None])
        return others

    def _best(self, queries: Floats, hashes: Hashes, candidates: Rows) -> tuple[Rows, Distances]:
        found = np.sort(candidates, axis=1)
        distances = np.empty(found.shape)
        for column, rows in enumerate(found.T):
            distances[:, column] = np.square(queries - self.features[rows], dtype=np.float64).sum(axis=1)
        distances[~self._others(found, hashes)] = np.inf
        best = distances.argmin(axis=1)[:, None]
        return np.take_along_axis(found, best, 1)[:, 0], np.take_along_axis(distances, best, 1)[:, 0]


def check_two_images(hashes: Hashes) -> None:
    """Raise DataError where all rows are of one image, which would leave it without a neighbour."""
    if len(hashes) < 2 or (hashes == hashes[0]).all():
        raise DataError(problem("reference", "two different images", "one or none", "Give it more real images"))


def learn_centres(features: Floats, seed: int = 0) -> Floats:
    """Return the centres of about the root of the number of rows clusters, for approximate search (k-means)."""
    import faiss

    clusters = max(1, round(len(features) ** 0.5))
    chosen = np.random.default_rng(seed).permutation(len(features))[: SAMPLE * clusters]
    learned = faiss.Kmeans(features.shape[1], clusters, niter=10, seed=seed, min_points_per_centroid=1)
    learned.train(np.ascontiguousarray(features[np.sort(chosen)]))
    return np.asarray(learned.centroids, np.float32)


def recall(features: Floats, hashes: Hashes, centres: Floats, queries: int = 256, seed: int = 0) -> float:
    """Return recall@1: the share of rows, each held out, whose approximate neighbour is as near as the exact one.

    Args:
        features, hashes, centres: as of :class:`Neighbours`.
        queries: at most so many rows are held out, drawn by the seed.
        seed: of the draw.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(features))[:queries])
    asked = np.ascontiguousarray(features[chosen]), hashes[chosen]
    _, exact = Neighbours(features, hashes).nearest(*asked)
    _, found = Neighbours(features, hashes, centres).nearest(*asked)
    return float((found == exact).mean())


def _clustered(features: Floats, centres: Floats):  # type: ignore[no-untyped-def]  # faiss has no types
    """Return an inverted file over the rows, filled in blocks."""
    import faiss

    clusters, dimensions = centres.shape
    coarse = faiss.IndexFlatL2(dimensions)
    coarse.add(np.ascontiguousarray(centres))
    index = faiss.IndexIVFFlat(coarse, dimensions, clusters)
    index.is_trained, index.nprobe = True, -(-clusters // PROBED)
    for start in range(0, len(features), step := max(1, BLOCK // dimensions)):
        index.add(np.ascontiguousarray(features[start : start + step]))
    return index
