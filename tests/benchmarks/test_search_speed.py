"""What the boundary search costs beside the published one, on the same real photographs, by turns.

The floor leaves room for a busy machine; the measured ratio is in `extra_info`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

FLOOR = 4.0
PHOTOGRAPHS = 6


@pytest.mark.slow
def test_boundary_against_the_published_search(
    discern_data: Path, classifiers: Path, ratio: Callable[..., float]
) -> None:
    from harness.images import decode
    from harness.images.preprocess import preprocess
    from harness.models import expand, open_models
    from harness.search.boundary import Boundary
    from harness.search.difffinder_cw import DiffFinderCw
    from harness.search.hunts import Pair, Seed
    from harness.search.oracle import Oracle
    from harness.spec.suite import ModelSpec

    names = ["mobilenet_v2.tv_float", "mobilenet_v2.tv_int8", "mobilenet_v2.tv_float.gradient"]
    with open_models(expand([ModelSpec(name=name) for name in names], classifiers)) as models:
        pair = Pair(*(Oracle(models[name]) for name in names))
        paths = sorted((discern_data / "imagenet").glob("*.JPEG"))[:PHOTOGRAPHS]
        spec = pair.white.model.card.preprocess.pixels
        pixels = [np.asarray(preprocess(decode(path.read_bytes()), spec), np.uint8) for path in paths]
        answers = list(zip(pair.white.logits(pixels), pair.black.logits(pixels), strict=True))
        seeds = [
            Seed(place, path.name, image, *said)
            for place, (path, image, said) in enumerate(zip(paths, pixels, answers, strict=True))
            if said[0].argmax() == said[1].argmax()
        ]

        def search(searcher: Boundary | DiffFinderCw) -> None:
            kept = [found for found in searcher.search(seeds, pair, seed=0, width=16) if found.kept is not None]
            assert len(kept) >= 0.9 * len(seeds)

        assert ratio(lambda: search(Boundary()), lambda: search(DiffFinderCw()), rounds=2) >= FLOOR
