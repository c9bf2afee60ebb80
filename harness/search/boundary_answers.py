"""Ours, without gradients: slopes from the white model's answers, then the black one's restlessness on the lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy.fft import idctn

from harness.search.hunts import Seed
from harness.search.margins import margin, margins
from harness.search.oracle import to_floats, to_lattice
from harness.search.requests import Floats, Steps, ask_black, ask_both, ask_white, keep
from harness.search.searcher import Searcher

OPPONENT = np.array([1, -2, 1], np.float32) / np.float32(6**0.5)
"""Colour of the waves, green against magenta: per query, photographs' classifiers give way to it most."""

LOWEST = 4
"""Waves of a smaller radius (half periods over the image) are left out."""

LENGTHS = (0.5, 1.0, 2.0)
"""Multiples of the current length that are tried along a slope."""

GROWTH = (0.7, 1.0, 1.4, 0.5)
"""What the length is multiplied with after each of them was best; the last, where none was."""

FIRST, SHORTEST, LONGEST = 0.8, 0.05, 1.5
"""The length, L2 of an image in [0, 1]: at first, and its bounds."""

SCALES = np.geomspace(0.15, 40, 36)
"""Multiples of the change that both models are asked about."""


class BoundaryAnswers(Searcher):
    """Lower the white model's margin by its answers alone, then draw 8-bit images until the black one has crossed.

    Let m_w and m_b be the margins of the seed's label. On the lattice the two are not moved alike: rounding another
    multiple of one smooth change turns some of 10^5 values by a grey level, which moves m_w hardly at all and m_b, with
    its activations rounded layer by layer, like a draw from a distribution. So the white model need not cross: once a
    smooth change has brought both margins near to 0, neighbouring 8-bit images of it are draws, and the nearest one
    where the black model has crossed and the white one has not disagrees.

    The change: waves of the discrete cosine transform, lowest first, are probed at the current place by forward
    differences of m_w, a group at a time; the place moves down the group's slope by the best of three lengths, judged
    by the margin plus a price on the squared length. The draws: multiples of the change over all scales, which both
    models are asked about; then, again and again, random multiples below the least one known to divide the models.

    Attributes:
        rounds, waves: so many groups of so many waves.
        probe: L2 of a probed wave, an image's values counted in [0, 1].
        price: of the squared length, as a share of the seed's margin.
        turns, draws: so many times so many multiples, at the end.
    """

    name = "boundary_answers"
    needs_gradient = False

    rounds: PositiveInt = 16
    waves: PositiveInt = 24
    probe: PositiveFloat = 0.3
    price: PositiveFloat = 0.004
    turns: PositiveInt = 28
    draws: PositiveInt = 16

    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image."""
        change = yield from self._descend(seed)
        yield from self._draw(seed, change, random)

    def _descend(self, seed: Seed) -> Steps[Floats]:
        """Return a change that lowers the white model's margin, float32 (height, width, 3)."""
        x, label = to_floats(seed.pixels), seed.label
        weights = np.zeros(x.shape[:2], np.float32)
        here, logits, length = x, seed.white, FIRST
        start = height = margin(logits, label)
        for group in np.array_split(_lowest(weights.shape, self.waves * self.rounds), self.rounds):
            if not len(group):
                break
            rows, columns = group.T
            units = np.zeros((len(group), *weights.shape), np.float32)
            units[np.arange(len(group)), rows, columns] = self.probe
            said = yield from ask_white(np.clip(here + _image(units), 0, 1))
            rival = int(np.where(np.arange(len(logits)) == label, -np.inf, logits).argmax())
            slope = (said[:, label] - said[:, rival] - (logits[label] - logits[rival])) / self.probe
            slope /= max(float(np.linalg.norm(slope)), 1e-9)
            tries = np.repeat(weights[None], len(LENGTHS), axis=0)
            tries[:, rows, columns] -= length * np.outer(LENGTHS, slope)
            images = np.clip(x + _image(tries), 0, 1)
            said = yield from ask_white(images)
            heights = np.append(margins(said, label), height)
            squares = (np.concatenate([tries, weights[None]]) ** 2).sum(axis=(1, 2))
            best = int((heights + self.price * start * squares).argmin())
            if best < len(LENGTHS):
                weights, here, logits, height = tries[best], images[best], said[best], float(heights[best])
            length = float(np.clip(length * GROWTH[best], SHORTEST, LONGEST))
            if height < 0.2 * min(1, start / 4):
                break
        return _image(weights)

    def _draw(self, seed: Seed, change: Floats, random: np.random.Generator) -> Steps[None]:
        """Look along the change: at all scales first, then nearer than the nearest that divides the models."""
        label = seed.label
        images = _multiples(seed, change, SCALES)
        white, black = yield from ask_both(images)
        apart = white.argmax(axis=1) != black.argmax(axis=1)
        turned = (white.argmax(axis=1) != label) | (black.argmax(axis=1) != label)
        least = float(SCALES[apart.argmax()]) if apart.any() else None
        if least is not None:
            yield from keep(images[apart.argmax()])
        near = float(
            SCALES[turned.argmax() if turned.any() else (margins(white, label) + margins(black, label)).argmin()]
        )
        share = 0.6
        for _ in range(self.turns):
            low, high = (0.6 * near, 1.1 * near) if least is None else (share * least, 0.99 * least)
            scales = np.sort(random.uniform(low, high, self.draws))
            images = _multiples(seed, change, scales)
            black = yield from ask_black(images)
            share = min(0.85, share + 0.05)
            away = np.flatnonzero(black.argmax(axis=1) != label)
            if not len(away):
                continue
            first = int(away[0])
            white = yield from ask_white(images[first][None])
            if white[0].argmax() != black[first].argmax():
                least = float(scales[first])
                share = max(0.6, share - 0.15)
                yield from keep(images[first])


def _lowest(shape: tuple[int, ...], count: int) -> NDArray[np.intp]:
    """Return the places of the lowest waves, (count, 2), those of one radius in the order of rows."""
    radius = np.hypot(*np.indices(shape))
    radius[radius < LOWEST] = np.inf
    order = np.argsort(radius, axis=None, kind="stable")[: min(count, int(np.isfinite(radius).sum()))]
    return np.stack(np.unravel_index(order, shape), axis=1)


def _image(weights: Floats) -> Floats:
    """Return the sum of waves, (..., height, width, 3), that weights of the cosine transform stand for."""
    return np.asarray(idctn(weights, axes=(-2, -1), norm="ortho")[..., None] * OPPONENT, np.float32)


def _multiples(seed: Seed, change: Floats, scales: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the seed plus multiples of a change as 8-bit images."""
    return to_lattice(to_floats(seed.pixels) + scales.astype(np.float32)[:, None, None, None] * change)
