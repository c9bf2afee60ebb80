"""Trains DIF's U-Net to paint a constant gray, and keeps what it paints on the way; judges nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from export.training.dif import NOISE_CHANNELS, UNet
from harness.tasks.gray import History

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Optimiser steps after which an answer is kept."""

RATE = 5e-5


def train_gray(
    *,
    up: str = "transposed",
    base: int = 32,
    side: int = 128,
    steps: tuple[int, ...] = STEPS,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> History:
    """Fit the U-Net to a gray of 0.5 from fixed noise (Sinitsa and Fried, WACV 2024, their blank-image experiment).

    Args:
        up: how its decoder enlarges; one of ``export.training.dif.UPS``.
        base: channels of its first level; 32 as published.
        side: of the image in pixels, a multiple of 16.
        steps: optimiser steps after which an answer is kept, ascending; training ends with the last.
        seed: of weights and noise.
        report: receives step and loss of each kept answer.
    """
    torch.manual_seed(seed)
    network = UNet(base, up=up)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    noise = torch.rand(1, NOISE_CHANNELS, side, side) * 0.1
    outputs, losses = [], []
    for step in range(steps[-1] + 1):
        made = network(noise)
        loss = torch.mean((0.5 * made) ** 2)
        losses.append(float(loss.detach()))
        if step in steps:
            outputs.append(made[0].detach().numpy().astype(np.float16))
            if report is not None:
                report(step, losses[-1])
        if step < steps[-1]:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return History(up, base, seed, steps, np.stack(outputs), np.array(losses, np.float32))
