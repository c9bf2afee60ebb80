"""Small pictures of two generators, each with a trace of its own, and an architecture that sees it."""

from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from torch import Tensor, nn

from export.detectors.architecture import Architecture
from export.training.recipe import Recipe
from harness.data.opening import open_dataset
from harness.data.sample import Dataset
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.spec.suite import DataSpec

SIDE = 16


def write_pictures(root: Path, counts: dict[str, int]) -> Path:
    """Write ``<split>/<generator>/{real,fake}``, so many of each class; the generators differ in their traces."""
    random = np.random.default_rng(5)
    board = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2 - 1
    for split, count in counts.items():
        for generator, trace in (("board", board), ("lines", np.tile([1, -1], (SIDE, SIDE // 2)))):
            for kind in ("real", "fake"):
                folder = root / split / generator / kind
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = random.normal(128, 30, (SIDE, SIDE, 3)) + (kind == "fake") * 18 * trace[..., None]
                    PILImage.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def opened(root: Path) -> Dataset:
    """Open the folder as a suite would."""
    return open_dataset("d", DataSpec(layout="real_fake", root=str(root)), root, root.parent / "manifests", Silent())


class Tiny(nn.Module):
    """One convolution, a batch norm, dropout and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.last = nn.Linear(4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.first(image).mean(dim=(2, 3)))[:, 0]
        return logits


TINY = Architecture(
    name="tiny",
    summary="A few weights",
    source="none",
    build=lambda scale, pretrained: Tiny(),
    preprocess=dict.fromkeys(("full", "miniature"), Preprocess(crop=SIDE)),
    recipes=dict.fromkeys(("full", "miniature"), Recipe(epochs=3, batch=8, optimiser="adam", lr=0.02)),
)
