"""When requests of an open loop are due: drawn up front from a seed, so that no answer can change it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.load.scenarios import Arrivals


def schedule(rate: float, seconds: float, arrivals: Arrivals, seed: int) -> NDArray[np.float64]:
    """Return when requests are due.

    Args:
        rate: requests a second, above 0.
        seconds: how long they last.
        arrivals: ``poisson`` (exponential gaps) or ``constant``.
        seed: of the gaps.

    Returns:
        Seconds since the start, ascending, in [0, seconds); float64 (n,).
    """
    if arrivals == "constant":
        return np.arange(math.ceil(rate * seconds - 1e-9)) / rate
    random = np.random.default_rng(seed)
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0.0, seconds, count))
