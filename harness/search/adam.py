"""Adam on one array, in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Adam:
    """Kingma and Ba, 2015 (arXiv:1412.6980, algorithm 1), with their constants.

    Args:
        values: float32, changed in place by every step.
        lr: step size.
    """

    def __init__(self, values: NDArray[np.float32], lr: float) -> None:
        self.values, self.lr, self.turn = values, lr, 0
        self.mean, self.square = np.zeros_like(values), np.zeros_like(values)

    def step(self, gradient: NDArray[np.float32]) -> None:
        """Descend once."""
        self.turn += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient**2 - self.square)
        mean = self.mean / (1 - 0.9**self.turn)
        square = self.square / (1 - 0.999**self.turn)
        self.values -= self.lr * mean / (np.sqrt(square) + 1e-8)
