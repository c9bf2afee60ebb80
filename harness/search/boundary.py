"""Ours: walk to the white model's decision boundary on the lattice of 8-bit images, and stop between both models'."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness.search.hunts import Seed
from harness.search.lattice import Walk
from harness.search.margins import margin
from harness.search.requests import Steps, slope_of_margin
from harness.search.searcher import Searcher
from harness.search.trail import Trail

FLATTENING = 0.6
"""How much of the decrease that one gradient promises comes, roughly: margins flatten along the first walk."""

REACH = 2.0
"""A walk holds so many times the linear decrease that the margin asks for; each further one twice as much."""

RIVALS = 4
"""So many of the label's nearest rivals are walked to, one after the other."""


class Boundary(Searcher):
    """Between the boundaries of two models that are nearly one.

    Let m_w(k) and m_b(k) be the margins of the seed's label y, Z[y] - max_{j != y} Z[j], of the white and the black
    model, k steps along a path of 8-bit images from the seed. Both are above 0 at k = 0. A path that leads over the
    white model's boundary has a first k_w with m_w(k_w) <= 0, and likewise k_b. Quantizing shifts logits by amounts
    that hardly depend on k, while one step, a grey level in one of some 10^5 coordinates, moves a margin by about 10^-4
    of itself; so k_w = k_b is a coincidence. Where k_b > k_w (the rule: the path follows the white model's gradient,
    which fits the black one less), the models disagree at k_w, and that is the path's nearest place where they can;
    where k_b < k_w, from k_b to k_w - 1. Bisecting on k with the white model alone therefore leaves one or two
    questions for the black one, and every place asked about is a PNG already: nothing is lost on rounding.

    The path: margins of a network are rough, and the gradient at one point promises far more than comes. The mean of
    the gradients at the seed and at the estimated crossing (then again with the next estimate) is nearly the mean slope
    along the way, as in the trapezoidal rule, and :class:`harness.search.lattice.Walk` takes the shortest lattice
    changes by it. Where a walk fails, the gradient at its end joins the mean, then its order is shuffled too, then
    other rivals of the label are walked to.

    Attributes:
        averaged: gradients behind the first walk.
        tolerance: of the crossing's place, as a share of the linear decrease up to it.
        walks: at most so many towards each of the rivals.
        shuffle: spread of the log-normal factors that give later walks another order.
    """

    name = "boundary"
    needs_gradient = True

    averaged: PositiveInt = 3
    tolerance: float = Field(default=0.02, gt=0, lt=0.5)
    walks: PositiveInt = 4
    shuffle: float = Field(default=0.3, ge=0)

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        label = seed.label
        rivals = [int(name) for name in np.argsort(-seed.white, kind="stable")[: RIVALS + 1] if name != label]
        for target in [label, *rivals[1:RIVALS]]:
            if (yield from self._walk(seed, target, random)):
                return

    def _walk(self, seed: Seed, target: int, random: np.random.Generator) -> Steps[bool]:
        """Walk off the seed's label, or on to a rival, some times; return whether anything was kept."""
        off = target == seed.label
        needed = max(margin(seed.white, seed.label) if off else -margin(seed.white, target), 1e-3)
        mean, at = np.zeros(seed.pixels.shape, np.float32), seed.pixels
        for turn in range(1, self.averaged + self.walks):
            slope = yield from slope_of_margin(at, target, len(seed.white), logits=False)
            mean += ((slope.gradient if off else -slope.gradient) - mean) / turn
            if turn < self.averaged:
                decrease = needed / FLATTENING if turn == 1 else needed
                walk = Walk(seed.pixels, mean, decrease)
                at = walk.at(walk.place(decrease))
                continue
            again = turn - self.averaged
            order = mean * np.exp(self.shuffle * random.standard_normal(mean.shape, np.float32)) if again > 1 else mean
            walk = Walk(seed.pixels, order, REACH * 2**again * needed)
            trail = Trail(walk, seed, self.tolerance)
            at = walk.at((yield from trail.search()))
            if trail.found:
                return True
        return False
