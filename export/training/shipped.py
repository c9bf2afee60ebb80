"""How every weight that ships was trained: three functions, run in this order, each from what the one before wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from export.aligned import REACH
from export.fingerprints import aligned
from export.residual_filters import DnCNN, load_filter
from export.training.embedders import train_barlow_twins, train_supervised
from export.training.generators import train_generators
from export.training.residual import read_photographs, train_residual_filter
from harness.data import miniature
from harness.data.miniature.designs import DESIGNS
from harness.data.miniature.photographs import PHOTOGRAPHS, load, tier
from harness.data.sample import NATURE
from harness.fingerprints.bank import Bank

HERE = Path(__file__).parents[1]
WEIGHTS = HERE / "weights"
GRAPHS = HERE.parent / "harness" / "data" / "miniature" / "generators"
FILTER = "dncnn_miniature.pt"
BANK = "dif_miniature_bilateral.npz"
ALIGNED = "dif_miniature_bilateral_aligned.npz"

READ = 8
"""Images in memory at once."""

Say = Callable[[str], None]


def generators(
    out: Path = GRAPHS, names: Sequence[str] = tuple(DESIGNS), *, steps: int | None = None, seed: int = 0, say: Say
) -> dict[str, float]:
    """Train generators on the photographs kept for that, children after parents; returns PSNR in dB by name."""
    return train_generators(
        out, names, steps, seed, lambda name, step, loss: say(f"{name}: step {step}, loss {loss:.4f}")
    )


def residual_filter(out: Path = WEIGHTS / FILTER, *, steps: int = 2500, seed: int = 0, say: Say) -> DnCNN:
    """Train the residual filter on the photographs of the train split."""
    photographs = [load(item) for item in PHOTOGRAPHS if item.tier == "train"]
    network = train_residual_filter(
        photographs, steps=steps, seed=seed, report=lambda step, loss: say(f"filter: step {step}, loss {loss:.4f}")
    )
    network.save(out)
    return network


def embedders(out: Path = WEIGHTS, *, steps: int = 200, seed: int = 0, say: Say) -> None:
    """Train both embedders on the real crops of the train split."""
    crops = list(tier("train"))
    pixels, labels = np.stack([item.pixels for item in crops]), [item.name.partition("-")[0] for item in crops]
    trained = {
        "embedder_mini_sl": train_supervised(
            pixels, labels, steps=steps, seed=seed, report=lambda step, loss: say(f"sl: step {step}, loss {loss:.4f}")
        ),
        "embedder_mini_ssl": train_barlow_twins(
            pixels, steps=steps, seed=seed, report=lambda step, loss: say(f"ssl: step {step}, loss {loss:.4f}")
        ),
    }
    for name, network in trained.items():
        torch.save(network.state_dict(), out / f"{name}.pt")


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


def align(corpus: Path, out: Path = WEIGHTS, *, say: Say) -> Bank:
    """Find the centres that the shipped bank over bilateral residuals has when it searches shifts, on the train split.

    Args:
        corpus: folder that the miniature corpus is built in.
        out: where the bank lies, and the aligned bank goes.
        say: receives lines.
    """
    root = miniature.build(corpus, ("train",), lambda done, total: say(f"corpus: {done}/{total}"))
    bank = Bank.load(out / BANK)

    def batches(name: str) -> Iterator[Tensor]:
        paths = sorted((root / "train" / name).glob("*.png"))
        for start in range(0, len(paths), READ):
            yield torch.from_numpy(np.stack([np.asarray(PILImage.open(path)) for path in paths[start : start + READ]]))

    images = {name: batches(name) for name in (NATURE, *bank.names)}
    found = aligned(bank, load_filter("bilateral"), images, REACH)
    found.save(out / ALIGNED)
    return found
