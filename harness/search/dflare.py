"""DFLARE: mutates an image freely, led by how far the two models' probabilities part; needs answers alone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.special import softmax

from harness.images.preprocess import Image
from harness.search.hunts import Seed
from harness.search.requests import Floats, Steps, ask_both, keep
from harness.search.searcher import Searcher

Operator = Callable[[Image, np.random.Generator], Image]


class Dflare(Searcher):
    """Markov chain over seven mutations: what parts the models, or brings an answer never seen, is mutated further.

    Every iteration draws an operator, mutates the last accepted image with it and asks both models once. The first
    image they decide differently is kept, and ends the search; else only its budget does. An image is accepted where
    the gap between both models' probabilities of the seed's label is wider than the last accepted one's by more than
    ``delta``, or where both models' probabilities, as one vector, are farther than ``novelty`` (squared L2) from all
    accepted before. Nothing bounds the distance to the seed.

    Source: Tian et al., 2023 (TOSEM, arXiv:2112.02819) and its code (github.com/yqtianust/DFlare). It differs from that
    code where that is wrong: a gap that narrows is no progress, the operators' ranks are really looked up in
    Metropolis-Hastings' acceptance, whose rejections leave the last operator in place, Gaussian noise is rounded
    (cutting it to whole levels all but removed it) and stronger, and no operator can draw parameters that change
    nothing.

    Attributes:
        delta: least growth of the gap, of probabilities.
        novelty: least squared distance of a new answer.
    """

    name = "dflare"
    needs_gradient = False

    delta: PositiveFloat = 1e-3
    novelty: PositiveFloat = 0.5

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        image, chain = seed.pixels, OperatorChain(len(OPERATORS), random)
        known = _probabilities(seed.white, seed.black)[None]
        gap = _gap(known[0], seed.label)
        while True:
            turn = chain.draw()
            mutant = OPERATORS[turn](image, random)
            white, black = yield from ask_both(mutant[None])
            if white.argmax() != black.argmax():
                yield from keep(mutant)
                return
            said = _probabilities(white[0], black[0])
            wider = _gap(said, seed.label) > gap + self.delta
            new = ((known - said) ** 2).sum(axis=1).min() > self.novelty
            if new:
                known = np.vstack([known, said])
            if wider or new:
                image, gap = mutant, _gap(said, seed.label)
            chain.tell(turn, bool(wider or new))


P = 1 / 7
"""Of the geometric distribution of the operators' ranks."""


class OperatorChain:
    """Metropolis-Hastings over operators: the k-th best so far is drawn with odds of (1 - P)^k.

    Operators are ranked by their share of successes, counted as if each had begun with one.

    Args:
        count: how many operators.
        random: draws the first operator, proposals and acceptances.
    """

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.random = random
        self.successes, self.tries = np.ones(count), np.ones(count)
        self.last = int(random.integers(count))

    def draw(self) -> int:
        """Return the next operator's place."""
        rank = np.argsort(np.argsort(-self.successes / self.tries, kind="stable"))
        proposed = int(self.random.integers(len(rank)))
        if self.random.random() < (1 - P) ** (rank[proposed] - rank[self.last]):
            self.last = proposed
        return self.last

    def tell(self, operator: int, success: bool) -> None:
        """Count how a draw went."""
        self.tries[operator] += 1
        self.successes[operator] += success


def _probabilities(white: Floats, black: Floats) -> Floats:
    return np.concatenate([softmax(white), softmax(black)])


def _gap(probabilities: Floats, label: int) -> float:
    white, black = np.split(probabilities, 2)
    return float(abs(white[label] - black[label]))


def _rounded(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def gaussian_noise(image: Image, random: np.random.Generator) -> Image:
    """Add N(0, 8^2) grey levels to every value."""
    return _rounded(image + random.normal(0, 8, image.shape))


def salt_and_pepper(image: Image, random: np.random.Generator) -> Image:
    """Set 0.4 % of the values to 0 or 255."""
    draw = random.random(image.shape)
    return np.where(draw < 0.002, np.uint8(0), np.where(draw < 0.004, np.uint8(255), image))


def multiplicative_noise(image: Image, random: np.random.Generator) -> Image:
    """Multiply every value by 1 + N(mean, var), the mean of U(-0.5, 0.5) and the variance of U(0, 0.05)."""
    mean, deviation = random.uniform(-0.5, 0.5), np.sqrt(random.uniform(0, 0.05))
    return _rounded(image * (1 + random.normal(mean, deviation, image.shape)))


def random_values(image: Image, random: np.random.Generator) -> Image:
    """Set 1 to 9 values to any level."""
    changed = image.copy()
    places = random.choice(image.size, random.integers(1, 10), replace=False)
    changed.reshape(-1)[places] = random.integers(0, 256, len(places))
    return changed


def box_blur(image: Image, random: np.random.Generator) -> Image:
    """Average over squares of side 2 to 5."""
    side = int(random.integers(2, 6))
    return np.asarray(cv2.blur(image, (side, side)), np.uint8)


def gaussian_blur(image: Image, random: np.random.Generator) -> Image:
    """Blur by a Gaussian of kernel 3, 5 or 7, its sigma 0.8, 1.1 or 1.4 pixels."""
    side = int(random.choice((3, 5, 7)))
    return np.asarray(cv2.GaussianBlur(image, (side, side), 0), np.uint8)


def median_blur(image: Image, random: np.random.Generator) -> Image:
    """Take medians over squares of side 3, 5 or 7."""
    return np.asarray(cv2.medianBlur(image, int(random.choice((3, 5, 7)))), np.uint8)


OPERATORS: tuple[Operator, ...] = (
    gaussian_noise,
    salt_and_pepper,
    multiplicative_noise,
    random_values,
    box_blur,
    gaussian_blur,
    median_blur,
)
"""The mutations; all work on one image and leave it as it is."""
