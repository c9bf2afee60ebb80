"""Trains a DnCNN residual filter on photographs: it learns noise, so that what it predicts holds no content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor, nn
from torch.nn import functional as F

from export.residual_filters import DnCNN
from harness.errors import DataError, ImageError, problem
from harness.images import decode

Report = Callable[[int, float], None]

SIGMA = (1.0, 15.0)
"""Range of the added Gaussian noise, in grey levels of 255; low levels matter, for fingerprints are faint."""


def train_residual_filter(
    photographs: Sequence[NDArray[np.uint8]],
    *,
    steps: int,
    seed: int,
    depth: int = 10,
    width: int = 32,
    side: int = 48,
    batch: int = 16,
    rate: float = 2e-3,
    from_zero: bool = False,
    report: Report | None = None,
) -> DnCNN:
    """Train a blind denoiser (Zhang et al., TIP 2017) on random patches.

    Args:
        photographs: uint8 RGB, at least ``side`` pixels each way.
        steps: optimiser steps.
        seed: of weights, patches and noise.
        depth, width: of the network.
        side: of a patch in pixels.
        batch: patches a step.
        rate: highest learning rate; 1e-3 for deeper networks.
        from_zero: start as a network that finds no noise, without which a deeper one may diverge.
        report: receives step and loss now and then.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = DnCNN(depth, width).train()
    if from_zero:
        nn.init.zeros_(list(network.parameters())[-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for step in range(steps):
        clean = patches(photographs, random, batch, side)
        level = torch.from_numpy(random.uniform(*SIGMA, size=(batch, 1, 1, 1)).astype(np.float32)) / 255
        noise = torch.randn(clean.shape) * level
        loss = F.mse_loss(network(clean + noise) / level, noise / level)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None and step % 50 == 0:
            report(step, float(loss.detach()))
    return network.eval()


def read_photographs(folder: Path, least: int = 64) -> list[NDArray[np.uint8]]:
    """Return a folder's images as RGB, each also at half its size; those under ``least`` pixels a side are left out.

    Raises:
        DataError: there is no image to train on.
    """
    found: list[NDArray[np.uint8]] = []
    for path in sorted(item for item in folder.glob("*") if item.is_file()):
        try:
            pixels = decode(path.read_bytes())
        except ImageError:
            continue
        height, width = pixels.shape[:2]
        half = PILImage.fromarray(pixels).resize((width // 2, height // 2), PILImage.Resampling.LANCZOS)
        found += [item for item in (pixels, np.asarray(half)) if min(item.shape[:2]) >= least]
    if not found:
        raise DataError(problem(f"photographs in {folder}", "images", "none", "Name a folder of photographs"))
    return found


def patches(photographs: Sequence[NDArray[np.uint8]], random: np.random.Generator, count: int, side: int) -> Tensor:
    """Return random patches, flipped and turned at random, float32 (count, 3, side, side) in [0, 1]."""
    cuts = []
    for index in random.integers(len(photographs), size=count):
        photograph = photographs[index]
        top, left = (random.integers(length - side + 1) for length in photograph.shape[:2])
        cut = np.rot90(photograph[top : top + side, left : left + side], int(random.integers(4)))
        cuts.append(cut[:, ::-1] if random.random() < 0.5 else cut)
    return torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).float() / 255
