"""Diff-Finder as published: an L2 search in tanh space that pushes the white model off what the black one says."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from harness.search.hunts import Seed
from harness.search.requests import Steps, ask_black, keep, slope_of_margin
from harness.search.searcher import Searcher
from harness.search.tanh_descent import TanhDescent


class DiffFinderCw(Searcher):
    """CW's L2 search with the label taken anew from the black model at every step.

    Every step asks the black model for its label y at x', and descends ||x' - x||^2 + c max(Z[y] - max_{j != y} Z[j],
    0), Z the white model's logits. The nearest x' that the white model does not call y is kept.

    Source: the code of Diff-Finder (github.com/lcx0329/Disagreement-Generation-for-Compressed-Neural-Networks,
    toolkit/cw_diffinder.py), after Carlini and Wagner, 2017 (arXiv:1608.04644, section VI-B). It differs from that code
    where that is wrong: margins are of the logits themselves (not of products with a one-hot vector), and an image
    stops by its own cost, not by its batch's.

    Attributes:
        c: weight of the margin.
        iterations: at most so many.
        lr: of Adam.
        early_stop: end an image that has found something and whose cost rose between two looks, of ten in all.
    """

    name = "difffinder_cw"
    needs_gradient = True

    c: PositiveFloat = 1.0
    iterations: PositiveInt = 50
    lr: PositiveFloat = 0.01
    early_stop: bool = False

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        descent = TanhDescent(seed.pixels, self.c, self.lr)
        nearest, before = np.inf, np.inf
        for turn in range(self.iterations):
            black = yield from ask_black(descent.image[None])
            label = int(black[0].argmax())
            margin = yield from slope_of_margin(descent.image, label, len(black[0]))
            if margin.logits.argmax() != label and descent.distance < nearest:
                nearest = descent.distance
                yield from keep(descent.image)
            if self.early_stop and turn % max(self.iterations // 10, 1) == 0:
                cost = descent.cost(margin)
                if cost > before and nearest < np.inf:
                    return
                before = cost
            descent.step(margin)
