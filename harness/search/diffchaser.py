"""DiffChaser: a genetic search, near the seed, for images that both models are unsure of; needs answers alone."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.special import softmax

from harness.images.preprocess import Image
from harness.search.hunts import Seed
from harness.search.requests import Floats, Steps, ask_both, keep
from harness.search.searcher import Searcher


class DiffChaser(Searcher):
    """Breeds images on which the most and the ``k``-th probable class come close, by one model or the other.

    The first generation is mutants of the seed. Every next one is the fittest by either model, and offspring: parents
    are the winners of tournaments, half of them held by the white model's fitness and half by the black one's; each
    has a partner drawn from them, values are taken from either at odds of one half, and then mutate. Images stay
    within ``reach`` of the seed. Both models are asked once about every image, a generation at a time. Of the first
    generation with images that they decide differently, the nearest in L2 is kept, and ends the search; else only its
    budget does.

    Source: Xie et al., 2019 (IJCAI, pp. 5772-5778), without published code; parameters are those of the port beside
    Diff-Finder (github.com/lcx0329/Disagreement-Generation-for-Compressed-Neural-Networks). It differs from that port
    where that is wrong: uncertainty is of probabilities (not logits) and of two classes (not one, which is always 0),
    mutations go both ways and are bounded by the seed (not by the parent, so that they added up), each model's fittest
    survives (not one's twice), and a population keeps its size.

    Attributes:
        population: images in a generation.
        k: rank of the class that the most probable one is held against.
        rate: share of the values that mutate.
        reach: farthest from the seed, and farthest that one mutation goes; in grey levels.
        tournament: images in one.
    """

    name = "diffchaser"
    needs_gradient = False

    population: Annotated[int, Field(ge=4)] = 10
    k: Annotated[int, Field(ge=2)] = 2
    rate: Annotated[PositiveFloat, Field(le=1)] = 0.01
    reach: Annotated[PositiveInt, Field(le=255)] = 8
    tournament: PositiveInt = 4

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        images = self._mutated(np.repeat(seed.pixels[None], self.population, axis=0), seed.pixels, random)
        elite, fitness = images[:0], np.zeros((2, 0), np.float32)
        while True:
            white, black = yield from ask_both(images)
            apart = images[white.argmax(axis=1) != black.argmax(axis=1)]
            if len(apart):
                yield from keep(_nearest(apart, seed.pixels))
                return
            images = np.concatenate([elite, images])
            fitness = np.hstack([fitness, [self._certainty(white), self._certainty(black)]])
            best = np.unique(fitness.argmin(axis=1))
            offspring = self._crossed(images, fitness, self.population - len(best), random)
            elite, fitness = images[best], fitness[:, best]
            images = self._mutated(offspring, seed.pixels, random)

    def _certainty(self, logits: Floats) -> Floats:
        """Return the most probable class's probability minus the k-th's, (images,); the fittest has the least."""
        ranked = np.sort(softmax(logits, axis=1), axis=1)
        return np.asarray(ranked[:, -1] - ranked[:, -min(self.k, ranked.shape[1])])

    def _crossed(
        self, images: NDArray[np.uint8], fitness: Floats, count: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return offspring, (count, height, width, 3), of parents chosen by both rows of the fitness, (2, images)."""
        judge = np.arange(count) % 2
        entrants = random.integers(len(images), size=(count, self.tournament))
        winners = entrants[np.arange(count), fitness[judge[:, None], entrants].argmin(axis=1)]
        partners = random.permutation(winners)
        of_partner = random.integers(2, size=(count, *images.shape[1:]), dtype=np.uint8).astype(bool)
        return np.where(of_partner, images[partners], images[winners])

    def _mutated(self, images: NDArray[np.uint8], seed: Image, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return images with ``rate`` of their values moved by U(-reach, reach), within ``reach`` of the seed."""
        moves = random.integers(-self.reach, self.reach, size=images.shape, endpoint=True, dtype=np.int16)
        moves *= random.random(images.shape, dtype=np.float32) < self.rate
        centre = seed.astype(np.int16)
        drift = np.clip(images + moves - centre, -self.reach, self.reach)
        return np.asarray(np.clip(centre + drift, 0, 255), np.uint8)


def _nearest(images: NDArray[np.uint8], seed: Image) -> Image:
    """Return the image nearest to the seed in L2."""
    distances = ((images.astype(np.float32) - seed) ** 2).sum(axis=(1, 2, 3))
    return np.asarray(images[distances.argmin()])
