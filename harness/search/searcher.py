"""What every searcher has: a name, parameters, a budget, and one public call that does all but the steps themselves."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, final

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from harness.named import Named
from harness.search.hunts import Hunted, Pair, Seed, hunt
from harness.search.requests import Steps


class Searcher(Named):
    """Looks for images near a seed that two models decide differently.

    A subclass writes :meth:`steps`, the search of one image as if it were alone; batching, budgets and counting are
    done around it.

    Attributes:
        queries: most forward queries to either model, for one seed.
        gradients: most gradients for one seed.
        gradient: gradient entry of another model, to be asked in place of the pair's: the search transfers from it.
    """

    needs_gradient: ClassVar[bool]

    queries: PositiveInt = 500
    gradients: NonNegativeInt = 500
    gradient: str | None = None

    @final
    def search(self, seeds: Iterable[Seed], pair: Pair, seed: int, width: int) -> Iterator[Hunted]:
        """Search from every seed.

        Args:
            seeds: images that both models decide alike.
            pair: the models.
            seed: of all randomness; an image draws from it, its own path and the searcher's id.
            width: searches under way at once.

        Yields:
            Each seed's end, as they come.

        Raises:
            EndpointUnavailable, EndpointTimeout: an endpoint is gone; what was under way has been yielded.
        """

        def begin(item: Seed) -> Steps[None]:
            drawn = hashlib.sha256(f"{seed}|{item.path}|{self.id}".encode()).digest()
            return self.steps(item, np.random.default_rng(int.from_bytes(drawn[:8], "little")))

        return hunt(seeds, begin, pair, self.queries, self.gradients, width)

    @abstractmethod
    def steps(self, seed: Seed, random: np.random.Generator) -> Steps[None]:
        """Search one image: yield what is asked, keep what is found, return when there is nothing left to try.

        Args:
            seed: where to begin.
            random: the image's own.
        """

    @property
    def title(self) -> str:
        """Its name and the parameters that are not as they come."""
        said = self.id.split()[1:]
        usual = type(self)().id.split()[1:]
        return " ".join([self.name, *(word for word in said if word not in usual)])
