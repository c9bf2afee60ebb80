"""Where two models' decisions turn along one walk, found with few queries; and an image between both turns."""

from __future__ import annotations

from harness.search.hunts import Seed
from harness.search.lattice import Walk
from harness.search.margins import margin
from harness.search.requests import Floats, Steps, ask_black, ask_white, keep

HURRY = 1.02
"""Where a turn is extrapolated, one goes so much further, so as to land behind it."""


LEAST = 1e-6
"""A margin of the seed that is no larger counts as this much."""


class Trail:
    """One walk with what is known of both models along it; nothing is asked twice.

    Args:
        walk: away from the seed.
        seed: where both models are known.
        tolerance: of a turn's place, as a share of the walk's gain up to it.

    Attributes:
        found: whether an image was kept.
    """

    def __init__(self, walk: Walk, seed: Seed, tolerance: float) -> None:
        self.walk, self.seed, self.tolerance = walk, seed, tolerance
        self.found = False
        self._white = {0: seed.white}
        self._black = {0: seed.black}

    def search(self) -> Steps[int]:
        """Keep an image between both turns, as near to the seed as few queries tell.

        Returns:
            The place just behind the white model's turn; the walk's end where it does not turn.
        """
        behind = yield from self._turn()
        if behind is None:
            return len(self.walk)
        if (yield from self._differ(behind)):
            return behind
        before = max(k for k, logits in self._white.items() if k < behind and self._stays(logits))
        near = self.walk.place(self.walk.gain(behind) * (1 - 2 * self.tolerance))
        if before < near < behind and self._stays((yield from self._ask_white(near))):
            before = near
        if (yield from self._differ(before)):
            yield from self._shrink(before)
            return behind
        while behind - before > 1:
            middle = (before + behind) // 2
            if (yield from self._differ(middle)):
                return behind
            stays = self._stays(self._white[middle])
            before, behind = (middle, behind) if stays else (before, middle)
        return behind

    def _turn(self) -> Steps[int | None]:
        """Return a place just behind the white model's turn; None where it does not turn before the end."""
        margins = {0: max(margin(self.seed.white, self.seed.label), LEAST)}
        wanted, before, behind = margins[0], 0, 0
        while True:
            k = self.walk.place(wanted)
            if behind:
                k = min(max(k, before + 1), behind - 1)
            logits = yield from self._ask_white(k)
            margins[k] = margin(logits, self.seed.label)
            if not self._stays(logits):
                behind = k
            elif k == len(self.walk):
                return None
            else:
                before = k
            here, there = self.walk.gain(before), self.walk.gain(behind)
            if not behind:
                fallen = max(margins[0] - margins[before], 0.1 * margins[0])
                wanted = here + HURRY * min(max(margins[before], 0.01 * margins[0]) * here / fallen, here)
                continue
            share = margins[before] / max(margins[before] - margins[behind], 1e-9)
            root = here + min(max(share, 0.05), 0.95) * (there - here)
            if behind - before == 1 or there <= root * (1 + self.tolerance):
                return behind
            wanted = root + min(self.tolerance / 2 * root, 0.5 * (there - root))

    def _shrink(self, found: int) -> Steps[None]:
        """Go back towards the black model's turn, which lies before the white one's."""
        start = margin(self.seed.black, self.seed.label)
        end = margin(self._black[found], self.seed.label)
        root = self.walk.gain(found) * start / max(start - end, 1e-9)
        k = self.walk.place(root * (1 + self.tolerance))
        if k < found * (1 - self.tolerance):
            yield from self._differ(k)

    def _differ(self, k: int) -> Steps[bool]:
        """Ask both models about a place; keep it where they differ."""
        white = yield from self._ask_white(k)
        if k not in self._black:
            self._black[k] = (yield from ask_black(self.walk.at(k)[None]))[0]
        if white.argmax() == self._black[k].argmax():
            return False
        self.found = True
        yield from keep(self.walk.at(k))
        return True

    def _ask_white(self, k: int) -> Steps[Floats]:
        if k not in self._white:
            self._white[k] = (yield from ask_white(self.walk.at(k)[None]))[0]
        return self._white[k]

    def _stays(self, logits: Floats) -> bool:
        return int(logits.argmax()) == self.seed.label
