"""Trains the miniature's embedders on real crops: by labels, or by Barlow Twins. They never see a generator's image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from export.embedders import DIMENSIONS, Embedder, mini_network

BATCH = 64
SIDE = 64
"""Of what is cut from a crop. Nothing is resized: that would blur the finest frequencies, where generators differ."""

REDUNDANCY = 0.005
"""Weight of the off-diagonal correlations (Barlow Twins, section 3: lambda)."""

PROJECTED = 256
"""Dimensions that the correlations are taken in; 8192 in the paper."""

Report = Callable[[int, float], None]


def train_supervised(
    crops: NDArray[np.uint8], labels: Sequence[str], *, steps: int, seed: int, report: Report | None = None
) -> Embedder:
    """Train an embedder to tell which photograph a crop is of.

    Args:
        crops: uint8 (n, H, W, 3).
        labels: their photographs.
        steps: optimiser steps.
        seed: of weights and everything drawn.
        report: receives step and loss.
    """
    torch.manual_seed(seed)
    names = sorted(set(labels))
    targets = torch.tensor([names.index(label) for label in labels])
    network, head = mini_network(), nn.Linear(DIMENSIONS, len(names))

    def loss(chosen: Tensor, generator: Generator) -> Tensor:
        embedded = network.embed(view(_pixels(crops, chosen), generator))
        return functional.cross_entropy(head(embedded), targets[chosen])

    return _train(network, head, len(crops), loss, steps, seed, report)


def train_barlow_twins(crops: NDArray[np.uint8], *, steps: int, seed: int, report: Report | None = None) -> Embedder:
    """Train an embedder to give two views of a crop equal, and its own dimensions different, values.

    Args:
        crops: uint8 (n, H, W, 3).
        steps: optimiser steps.
        seed: of weights and everything drawn.
        report: receives step and loss.
    """
    torch.manual_seed(seed)
    network = mini_network()
    hidden = [nn.Linear(DIMENSIONS, PROJECTED, bias=False), nn.BatchNorm1d(PROJECTED), nn.ReLU()]
    head = nn.Sequential(*hidden, nn.Linear(PROJECTED, PROJECTED, bias=False))

    def loss(chosen: Tensor, generator: Generator) -> Tensor:
        pixels = _pixels(crops, chosen)
        return barlow_loss(*(head(network.embed(view(pixels, generator))) for _ in range(2)))

    return _train(network, head, len(crops), loss, steps, seed, report)


def barlow_loss(first: Tensor, second: Tensor, redundancy: float = REDUNDANCY) -> Tensor:
    """Return sum (1 - C_ii)^2 + redundancy * sum C_ij^2, C the cross-correlation of two views' projections.

    Source: Zbontar et al., ICML 2021, eq. 1 and 2.

    Args:
        first, second: (N, D).
        redundancy: weight of the second sum, lambda.
    """
    a, b = ((item - item.mean(dim=0)) / item.std(dim=0, correction=0).clamp_min(1e-6) for item in (first, second))
    correlation = a.T @ b / len(first)
    diagonal = correlation.diagonal()
    own = (1 - diagonal).square().sum()
    return own + redundancy * (correlation.square().sum() - diagonal.square().sum())


def view(pixels: Tensor, generator: Generator) -> Tensor:
    """Return a part of each crop, mirrored or not, in other colours: (N, 3, S, S) in about [0, 1].

    Args:
        pixels: (N, 3, H, W) in [0, 1].
        generator: of what is drawn: place, mirroring, a gain and an offset of each channel, and greyness.
    """
    count, _, height, width = pixels.shape
    side = min(SIDE, height, width)
    top, left = (torch.randint(0, length - side + 1, (count,), generator=generator) for length in (height, width))
    parts = [item[:, y : y + side, x : x + side] for item, y, x in zip(pixels, top, left, strict=True)]
    cut = torch.stack(parts)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    cut = torch.where(drawn(1, 1, 1) < 0.5, cut.flip(-1), cut)
    cut = torch.where(drawn(1, 1, 1) < 0.2, cut.mean(dim=1, keepdim=True), cut)
    return cut * (0.7 + 0.6 * drawn(3, 1, 1)) + 0.2 * (drawn(3, 1, 1) - 0.5)


def _train(
    network: Embedder,
    head: nn.Module,
    count: int,
    loss: Callable[[Tensor, Generator], Tensor],
    steps: int,
    seed: int,
    report: Report | None,
) -> Embedder:
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    network.train()
    for step in range(1, steps + 1):
        chosen = torch.randperm(count, generator=generator)[:BATCH]
        value = loss(chosen, generator)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        if report is not None and (step % 25 == 0 or step == steps):
            report(step, float(value.detach()))
    return network.eval()


def _pixels(crops: NDArray[np.uint8], chosen: Tensor) -> Tensor:
    return torch.from_numpy(crops[chosen.numpy()]).permute(0, 3, 1, 2).float() / 255
