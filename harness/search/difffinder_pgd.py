"""Diff-Finder's other form: projected ascent of the divergence between the two models' softened answers."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from harness.search.hunts import Seed
from harness.search.oracle import to_floats
from harness.search.requests import Floats, Steps, ask_black, ask_both, keep, slope_of_kl
from harness.search.searcher import Searcher


class DiffFinderPgd(Searcher):
    """PGD in the Linf ball around the seed, up KL(softmax(black / T) || softmax(white / T)).

    It begins anywhere in the ball. Every step asks the black model, takes its answer for constant, and moves every
    value by ``alpha`` along the gradient's sign, within the ball and [0, 1]. Of the images on the way that the two
    decide differently, the nearest in L2 is kept.

    Source: the code of Diff-Finder (github.com/lcx0329/Disagreement-Generation-for-Compressed-Neural-Networks,
    toolkit/diffinder.py); the ascent is that of Madry et al., 2018 (arXiv:1706.06083). It differs from that code where
    that is no black-box search, for its gradient runs through the black model as well, and where it returns the last
    image, whether the two differ on it or not.

    Attributes:
        eps: radius of the ball, in grey levels.
        alpha: length of a step, in grey levels.
        temperature: T, of both.
        iterations: steps.
    """

    name = "difffinder_pgd"
    needs_gradient = True

    eps: PositiveFloat = 8.0
    alpha: PositiveFloat = 2.0
    temperature: PositiveFloat = 4.0
    iterations: PositiveInt = 10

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        x = to_floats(seed.pixels)
        eps, alpha = np.float32(self.eps / 255), np.float32(self.alpha / 255)
        low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
        moved = np.clip(x + random.uniform(-eps, eps, x.shape).astype(np.float32), low, high)
        nearest = np.inf
        for _ in range(self.iterations):
            black = (yield from ask_black(moved[None]))[0]
            slope = yield from slope_of_kl(moved, black, self.temperature)
            nearest = yield from _keep_nearer(moved, x, slope.logits, black, nearest)
            moved = np.clip(moved + alpha * np.sign(slope.gradient), low, high)
        white, blacks = yield from ask_both(moved[None])
        yield from _keep_nearer(moved, x, white[0], blacks[0], nearest)


def _keep_nearer(moved: Floats, x: Floats, white: Floats, black: Floats, nearest: float) -> Steps[float]:
    """Keep an image on which the two differ if it is nearer than any before; return the least distance so far."""
    distance = float(((moved - x) ** 2).sum())
    if white.argmax() == black.argmax() or distance >= nearest:
        return nearest
    yield from keep(moved)
    return distance
