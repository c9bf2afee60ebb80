"""Diff-Finder as published: an L2 search in tanh space that pushes the white model off what the black one says."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from harness.search.adam import Adam
from harness.search.hunts import Seed
from harness.search.oracle import to_floats
from harness.search.requests import Steps, ask_black, keep, slope_of_margin
from harness.search.searcher import Searcher


class DiffFinderCw(Searcher):
    """CW's L2 search with the label taken anew from the black model at every step.

    An image is x' = (tanh(w) + 1) / 2, so it stays in [0, 1] by construction; values that are 0 or 1 in the seed have
    no finite w, and never move. Every step asks the black model for its label y at x', and descends ||x' - x||^2 +
    c max(Z[y] - max_{j != y} Z[j], 0), Z the white model's logits, by Adam. The nearest x' that the white model does
    not call y is kept.

    Source: the code of Diff-Finder (github.com/lcx0329/Disagreement-Generation-for-Compressed-Neural-Networks,
    toolkit/cw_diffinder.py), after Carlini and Wagner, 2017 (arXiv:1608.04644, section VI-B). It differs from that code
    where that is wrong: margins are of the logits themselves (not of products with a one-hot vector), and an image
    stops by its own cost, not by its batch's.

    Attributes:
        c: weight of the margin.
        iterations: at most so many.
        lr: of Adam.
        early_stop: end an image whose cost rose between two looks; one looks ten times in all.
    """

    name = "difffinder_cw"
    needs_gradient = True

    c: PositiveFloat = 1.0
    iterations: PositiveInt = 50
    lr: PositiveFloat = 0.01
    early_stop: bool = False

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        x = to_floats(seed.pixels)
        with np.errstate(divide="ignore"):
            w = np.arctanh(2 * x - 1)
        adam = Adam(w, self.lr)
        nearest, before = np.inf, np.inf
        for turn in range(self.iterations):
            moved = (np.tanh(w) + 1) / 2
            black = yield from ask_black(moved[None])
            label = int(black[0].argmax())
            slope = yield from slope_of_margin(moved, label, len(black[0]))
            distance = float(((moved - x) ** 2).sum())
            if slope.logits.argmax() != label and distance < nearest:
                nearest = distance
                yield from keep(moved)
            cost = distance + self.c * max(slope.loss, 0.0)
            if self.early_stop and turn % max(self.iterations // 10, 1) == 0:
                if cost > before and nearest < np.inf:
                    return
                before = cost
            by_image = 2 * (moved - x) + (self.c * slope.gradient if slope.loss >= 0 else np.float32(0))
            adam.step(np.asarray(2 * by_image * moved * (1 - moved), np.float32))
