"""Answers of an attributor as points in a plane, near where they are alike; a picture, no figure rests on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.tasks.answers import Ids
from harness.tasks.told import Told

MOST = 600
"""Points, so that the picture takes seconds."""

FEWEST = 10
"""Points below which neighbourhoods mean nothing."""

Points = Mapping[str, tuple[tuple[float, float], ...]]
"""Points (x, y) by source."""


def lay_out(told: Told, sources: Sequence[str], seed: int) -> Points:
    """Return images by t-SNE (van der Maaten and Hinton, JMLR 2008) of their centred logits.

    As many images of each source, :data:`MOST` in all at most, chosen by their ids; the same answers give the same
    points.

    Args:
        told: the answers.
        sources: in the order of the result.
        seed: of the search.

    Returns:
        Points; empty where there are fewer than ten.
    """
    from sklearn.manifold import TSNE

    rows = np.concatenate([np.zeros(0, np.intp), *_chosen(told, sources)])
    rows = rows[np.argsort(told.ids[rows], kind="stable")]
    if len(rows) < FEWEST:
        return {}
    features = told.centred[rows]
    if np.ptp(features, axis=0).max() == 0:
        return {}
    near = min(30.0, (len(rows) - 1) / 3)
    found = TSNE(perplexity=near, init="random", random_state=seed).fit_transform(features).astype(float)
    truth = told.truth[rows]
    return {name: tuple((float(x), float(y)) for x, y in found[truth == name]) for name in sources if name in truth}


def _chosen(told: Told, sources: Sequence[str]) -> Iterator[NDArray[np.intp]]:
    """Yield the places of each source's images with the smallest ids, whatever the order of records."""
    share = MOST // max(1, len(sources))
    for name in sources:
        places = np.flatnonzero(told.truth == name)
        ids: Ids = told.ids[places]
        yield places[np.argsort(ids, kind="stable")[:share]]
