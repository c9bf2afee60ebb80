"""Plain Carlini-Wagner: an adversarial image of the white model alone; the black one is asked about the end only."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from harness.search.hunts import Seed
from harness.search.requests import Steps, ask_black, keep, slope_of_margin
from harness.search.searcher import Searcher
from harness.search.tanh_descent import TanhDescent


class CarliniWagner(Searcher):
    """CW's L2 search off the seed's label, with ``c`` fixed; what the white model calls otherwise may not transfer.

    Every step descends ||x' - x||^2 + c max(Z[y] - max_{j != y} Z[j], 0), Z the white model's logits and y the seed's
    label. The black model is asked once: about the nearest x' that the white model does not call y.

    Source: Carlini and Wagner, 2017 (arXiv:1608.04644, section VI-B), as run by torchattacks beside Diff-Finder. It
    differs from torchattacks where that is wrong: margins are of the logits themselves (not of products with a one-hot
    vector), and no image stops by its batch's cost. c is not searched for, as it is not there.

    Attributes:
        c: weight of the margin.
        iterations: steps; no more than there may be gradients.
        lr: of Adam.
    """

    name = "cw"
    needs_gradient = True

    c: PositiveFloat = 1.0
    iterations: PositiveInt = 50
    lr: PositiveFloat = 0.01

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        descent = TanhDescent(seed.pixels, self.c, self.lr)
        nearest, found, said = np.inf, None, seed.white
        for _ in range(min(self.iterations, self.gradients)):
            margin = yield from slope_of_margin(descent.image, seed.label, len(seed.white))
            if margin.logits.argmax() != seed.label and descent.distance < nearest:
                nearest, found, said = descent.distance, descent.image, margin.logits
            descent.step(margin)
        if found is not None:
            black = yield from ask_black(found[None])
            if black[0].argmax() != said.argmax():
                yield from keep(found)
