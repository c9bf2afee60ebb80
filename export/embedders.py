"""Embedders: networks from images to vectors, which representations look for neighbours among. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from export.built import Built, Export
from export.checkpoints import read_tensors
from export.classifiers import ARCHITECTURES, IMAGENET, float_network
from export.detectors.backbones import ResNet, load_backbone
from export.onnx import file_sha256
from harness.card import Card
from harness.errors import CheckpointError, problem
from harness.images.preprocess import Preprocess

WEIGHTS = Path(__file__).parent / "weights"

DIMENSIONS = 128
"""Of the miniature's embeddings."""

TOLERANCE = 1e-3
"""Of a value, whose deviation over photographs is about 1 in miniatures and 0.5 in ResNet-50."""


class Embedder(nn.Module):
    """Averages of a residual network's last maps, of plain pixels behind ImageNet's normalisation.

    Args:
        body: with a head ``fc``, which is replaced by the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.body.fc = nn.Identity()
        for name, values in zip(("mean", "std"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 (N, dimensions)."""
        return self.embed(image.permute(0, 3, 1, 2).float() / 255)

    def embed(self, pixels: Tensor) -> Tensor:
        """RGB in [0, 1], (N, 3, H, W) -> float32 (N, dimensions)."""
        return cast(Tensor, self.body((pixels - self.mean) / self.std))


def mini_network() -> Embedder:
    """Return the miniatures' network without weights: three stages of two bottlenecks, 8 channels wide, 128 at last."""
    return Embedder(ResNet(Bottleneck, (2, 2, 2), width=DIMENSIONS // 16))


def mini_sl() -> Built:
    """Supervised embeddings of small crops, from the tracked weights."""
    return _mini("embedder.mini_sl", "Supervised embeddings of 128 px crops: which photograph is it of?")


def mini_ssl() -> Built:
    """Self-supervised embeddings of small crops, from the tracked weights."""
    return _mini("embedder.mini_ssl", "Barlow Twins embeddings of 128 px crops, without labels")


def resnet50(weights: str = "DEFAULT") -> Built:
    """Supervised embeddings of ImageNet's ResNet-50: 2048 averages of its last maps.

    Args:
        weights: a name of torchvision's, a file of a state dict, or ``seeded:N``.
    """
    summary = "Averages of the last maps of torchvision's ResNet-50"
    return _full("embedder.resnet50", summary, weights, _published(weights), "torchvision")


def barlow_twins(weights: str) -> Built:
    """Self-supervised embeddings of a ResNet-50 that Barlow Twins trained: 2048 averages of its last maps.

    Args:
        weights: a file of its state dict under torchvision's names, with or without a head, or ``seeded:N``.
    """
    if weights.startswith("seeded:"):
        body = _published(weights)
    else:
        body = ResNet(Bottleneck, (3, 4, 6, 3))
        load_backbone(body, _state(weights), weights)
    source = "Zbontar et al., Barlow Twins, ICML 2021"
    return _full("embedder.barlow_twins", "Averages of the last maps of Barlow Twins' ResNet-50", weights, body, source)


def _published(weights: str) -> nn.Module:
    return float_network(ARCHITECTURES["resnet50"], weights).body


EMBEDDERS: Mapping[str, Export] = {
    "embedder.mini_sl": Export("Supervised embeddings of small crops, from the tracked weights", mini_sl),
    "embedder.mini_ssl": Export("Self-supervised embeddings of small crops, from the tracked weights", mini_ssl),
    "embedder.resnet50": Export("Embeddings of ImageNet's ResNet-50", resnet50),
    "embedder.barlow_twins": Export("Embeddings of a ResNet-50 that Barlow Twins trained, from a file", barlow_twins),
}
"""The catalogue's embedders, by name."""


def embedder_card(name: str, summary: str, preprocess: Preprocess, dimensions: int, **more: object) -> Card:
    """Return the card of an embedder."""
    return Card.model_validate(
        {
            "name": name,
            "task": "embedding",
            "summary": summary,
            "preprocess": preprocess,
            "output": "embedding",
            "score": "statistic",
            "heads": (),
            "dimensions": dimensions,
            **more,
        }
    )


def _mini(name: str, summary: str) -> Built:
    path = WEIGHTS / f"{name.replace('.', '_')}.pt"
    network = mini_network()
    expected, do = "weights of this embedder", "Train it again: python -m export.training embedders"
    state = read_tensors(path, expected, do)
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(problem(str(path), expected, str(error)[:200], do)) from error
    card = embedder_card(
        name,
        summary,
        Preprocess(crop=128),
        DIMENSIONS,
        licence="Apache-2.0",
        source="export/training, on real crops of the miniature corpus' train split",
        training={"weights_sha256": file_sha256(path)},
    )
    return Built(network.eval(), card, TOLERANCE)


def _full(name: str, summary: str, weights: str, body: nn.Module, source: str) -> Built:
    path = Path(weights)
    card = embedder_card(
        name,
        summary,
        ARCHITECTURES["resnet50"].preprocess.pixels,
        2048,
        licence="BSD-3-Clause (code); weights as their source says",
        source="random" if weights.startswith("seeded:") else source,
        training={"weights": f"file, sha256 {file_sha256(path)}" if path.is_file() else weights},
    )
    return Built(Embedder(body).eval(), card, TOLERANCE)


def _state(weights: str) -> dict[str, Tensor]:
    expected, do = "a state dict of tensors", "Save state_dict() alone"
    said = read_tensors(Path(weights), expected, do)
    if not isinstance(said, dict) or not all(isinstance(item, Tensor) for item in said.values()):
        raise CheckpointError(problem(weights, expected, type(said).__name__, do))
    return said
