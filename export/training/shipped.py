"""How every weight that ships was trained: three functions, run in this order, each from what the one before wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from export.generators.architectures import GENERATORS
from export.residual_filters import DnCNN, load_filter
from export.training.dif import TrainedFingerprint, normalise, train_bank
from export.training.generators import train_generators
from export.training.residual import read_photographs, train_residual_filter
from harness.data import miniature
from harness.data.miniature.photographs import PHOTOGRAPHS, SIDE, load
from harness.data.sample import NATURE

HERE = Path(__file__).parents[1]
WEIGHTS = HERE / "weights"
GRAPHS = HERE.parent / "harness" / "data" / "miniature" / "generators"
FILTER = "dncnn_miniature.pt"
BANKS = {"dncnn": "dif_miniature.npz", "bilateral": "dif_miniature_bilateral.npz"}
"""Banks by residual filter; the classical one is the baseline of the trained one."""

BASE = 8
"""Channels of the fingerprints' U-Net: a quarter of the published one's, for 128 px and a processor."""

Say = Callable[[str], None]


def generators(out: Path = GRAPHS, *, steps: int = 1200, seed: int = 0, say: Say) -> dict[str, float]:
    """Train the eight generators on the photographs kept for that; returns PSNR in dB by name."""
    return train_generators(
        out, tuple(GENERATORS), steps, seed, lambda name, step, loss: say(f"{name}: step {step}, loss {loss:.4f}")
    )


def residual_filter(out: Path = WEIGHTS / FILTER, *, steps: int = 2500, seed: int = 0, say: Say) -> DnCNN:
    """Train the residual filter on the photographs of the train split."""
    photographs = [load(item) for item in PHOTOGRAPHS if item.tier == "train"]
    network = train_residual_filter(
        photographs, steps=steps, seed=seed, report=lambda step, loss: say(f"filter: step {step}, loss {loss:.4f}")
    )
    network.save(out)
    return network


def filter_of_photographs(folder: Path, out: Path, *, steps: int = 3000, seed: int = 0, say: Say) -> DnCNN:
    """Train a deeper filter on a folder of photographs, for weights of one's own."""
    network = train_residual_filter(
        read_photographs(folder),
        steps=steps,
        seed=seed,
        depth=12,
        rate=1e-3,
        from_zero=True,
        report=lambda step, loss: say(f"filter: step {step}, loss {loss:.4f}"),
    )
    network.save(out)
    return network


def fingerprints(
    corpus: Path, residual: str = "dncnn", out: Path = WEIGHTS, *, steps: int = 400, seed: int = 0, say: Say
) -> dict[str, TrainedFingerprint]:
    """Train the bank on the corpus' train split, each fingerprint stopped by the val split.

    Args:
        corpus: folder that the miniature corpus is built in.
        residual: one of BANKS.
        out: where the filter lies and the bank goes.
        steps: at most so many optimiser steps a fingerprint.
        seed: of weights, noise and pairs.
        say: receives lines.
    """
    root = miniature.build(corpus, ("train", "val"), lambda done, total: say(f"corpus: {done}/{total}"))
    network = load_filter(str(out / FILTER) if residual == "dncnn" else residual)
    names = (NATURE, *miniature.GENERATORS)
    train, validation = (
        {name: residuals(network, sorted((root / split / name).glob("*.png"))) for name in names}
        for split in ("train", "val")
    )
    bank, trained = train_bank(
        train,
        validation,
        miniature.GENERATORS,
        (SIDE, SIDE),
        report=lambda name, step, loss, value: say(f"{name}: step {step}, loss {loss:.3f}, val AUROC {value:.3f}"),
        steps=steps,
        seed=seed,
        base=BASE,
    )
    bank.save(out / BANKS[residual])
    return trained


def residuals(network: torch.nn.Module, paths: Sequence[Path], batch: int = 32) -> Tensor:
    """Return the normalised residuals of images of one size, float32 (n, 3 * H * W)."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(paths), batch):
            images = np.stack([np.asarray(PILImage.open(path)) for path in paths[start : start + batch]])
            parts.append(normalise(network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()))
    return torch.cat(parts)
