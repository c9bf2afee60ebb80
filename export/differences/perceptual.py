"""LPIPS with weights by name or file: a distance of two images, and where it lies; downloads nothing that is a file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from export.checkpoints import read_tensors
from export.differences.batches import Planes, as_batches
from export.onnx import quiet
from harness.errors import CheckpointError, problem
from harness.names import did_you_mean

BACKBONES: Mapping[str, models.WeightsEnum] = {
    "squeeze": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
    "alex": models.AlexNet_Weights.IMAGENET1K_V1,
    "vgg": models.VGG16_Weights.IMAGENET1K_V1,
}
"""Networks whose features are compared, and their weights of torchvision's."""

LEAST = 32
"""Smallest side of an image in pixels: below it, a backbone has no last layer."""

TINY = 1e-10
"""Added to a feature vector's length before it is divided by it."""


def lpips_map(a: Planes, b: Planes, weights: str = "") -> NDArray[np.float32]:
    """Return where two images differ perceptually: each layer's weighted distance, enlarged, summed over layers.

    Zhang et al., CVPR 2018, equation 1 before its mean over positions; linear heads v0.1.

    Args:
        a, b: float32 (H, W, 3) in [0, 1], of one shape.
        weights: ``squeeze``, ``alex`` or ``vgg``: torchvision's, downloaded once; or ``squeeze:FILE``: a file of
            torchvision's state dict.

    Returns:
        float32 (H, W), at least 0.

    Raises:
        ImageError: images that can't be compared, or smaller than LEAST.
        CheckpointError: weights that are not named, can't be had, or are another network's.
    """
    x, y = as_batches(a, b, "lpips", least=LEAST, channels=3)
    with torch.no_grad():
        layers = _layers(network(weights), x, y)
        size = x.shape[2:]
        enlarged = [F.interpolate(layer, size, mode="bilinear", align_corners=False)[0, 0] for layer in layers]
        return np.asarray(torch.stack(enlarged).sum(0).numpy(), np.float32)


def distance(x: Tensor, y: Tensor, weights: str) -> Tensor:
    """Return LPIPS of two images (1, 3, H, W) in [0, 1] as a scalar that can be differentiated."""
    return torch.stack([layer.mean() for layer in _layers(network(weights), x, y)]).sum()


def _layers(built: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    """Return every layer's map (1, 1, h, w).

    A vector of zeros stays one, with a gradient of zero: a square root's would be infinite.
    """
    features = (built.net(built.scaling_layer(2 * image - 1)) for image in (x, y))
    maps = []
    for ours, theirs, head in zip(*features, built.lins, strict=True):
        ours, theirs = (item / (torch.linalg.vector_norm(item, dim=1, keepdim=True) + TINY) for item in (ours, theirs))
        maps.append(head((ours - theirs).square()))
    return maps


@lru_cache(maxsize=len(BACKBONES))
def network(weights: str) -> nn.Module:
    """Return LPIPS' network, frozen and for inference; a file is read the first time that it is named.

    Raises:
        CheckpointError: weights that are not named, can't be had, or are another network's.
    """
    name, _, file = weights.partition(":")
    if name not in BACKBONES:
        do = did_you_mean(name, list(BACKBONES)) if name else "Write weights=squeeze:FILE, or weights=squeeze"
        got = repr(weights) if weights else "none"
        raise CheckpointError(problem("weights of lpips", "a backbone, or a backbone and its file", got, do))
    state = _read(Path(file)) if file else _download(name)
    with torch.random.fork_rng(devices=[]), quiet():
        built: nn.Module = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
    _fill(built.net, state, weights)
    return built.requires_grad_(False).eval()


def _fill(backbone: Any, state: Mapping[str, Tensor], weights: str) -> None:
    """Load torchvision's features into the slices, whose parts are numbered as they are there."""
    slices = backbone.state_dict()
    sources = {key: f"features.{key.partition('.')[2]}" for key in slices}
    wanted = {source: tuple(slices[key].shape) for key, source in sources.items()}
    given = {key: tuple(value.shape) for key, value in state.items() if key.startswith("features.")}
    if wanted != given:
        odd = sorted(set(wanted.items()) ^ set(given.items()))
        got = f"others, {odd[0][0]} first" if given else "none of its features"
        do = "Name the backbone that the file is of"
        raise CheckpointError(problem(f"weights of lpips {weights}", "those of torchvision's backbone", got, do))
    backbone.load_state_dict({key: state[source] for key, source in sources.items()})


def _read(path: Path) -> dict[str, Tensor]:
    said = read_tensors(path, "a state dict of tensors", "Save state_dict() alone")
    if not isinstance(said, dict) or not all(isinstance(value, Tensor) for value in said.values()):
        raise CheckpointError(problem(str(path), "a state dict of tensors", type(said).__name__, "Save state_dict()"))
    return said


def _download(name: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(BACKBONES[name].get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        what, do = f"weights of lpips {name}", f"Fetch {BACKBONES[name].url} elsewhere and write weights={name}:FILE"
        raise CheckpointError(problem(what, "a download", str(error), do)) from error
