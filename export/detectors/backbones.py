"""What several detectors are built on: residual networks of any width, and ImageNet's statistics and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from harness.errors import CheckpointError, problem


class Trunk(nn.Module):
    """A residual network without a head (He et al., CVPR 2016); torchvision's layers under torchvision's names.

    Args:
        block: torchvision's ``BasicBlock`` or ``Bottleneck``.
        layers: blocks of each stage; every stage but the first halves the sides and doubles the channels.
        width: channels of the stem; 64 as published.
        stem: side of the first kernel.
        inputs: channels of what it is shown.
        stride: of the stem; at 1 nothing is pooled behind it either, so that traces of one pixel reach the blocks.

    Attributes:
        channels: of the last stage's maps.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        width: int = 64,
        stem: int = 7,
        inputs: int = 3,
        stride: int = 2,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, stem, stride=stride, padding=stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stride > 1 else nn.Identity()
        self.channels = width
        self.stages = [f"layer{place + 1}" for place in range(len(layers))]
        for place, (name, count) in enumerate(zip(self.stages, layers, strict=True)):
            self.add_module(name, self._stage(block, width * 2**place, count, stride=1 if place == 0 else 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, block: type[BasicBlock | Bottleneck], planes: int, count: int, stride: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for place in range(count):
            step, out = stride if place == 0 else 1, planes * block.expansion
            shortcut: nn.Module | None = None
            if step != 1 or self.channels != out:
                shortcut = nn.Sequential(nn.Conv2d(self.channels, out, 1, step, bias=False), nn.BatchNorm2d(out))
            blocks.append(block(self.channels, planes, step, shortcut))
            self.channels = out
        return nn.Sequential(*blocks)

    def maps(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the maps after the stem, after its pooling, and after each stage."""
        found = [self.relu(self.bn1(self.conv1(x)))]
        found.append(self.maxpool(found[-1]))
        for name in self.stages:
            found.append(self.get_submodule(name)(found[-1]))
        return found


class ResNet(Trunk):
    """A residual network with global average pooling, (N, inputs, H, W) -> (N, outputs)."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        width: int = 64,
        stem: int = 7,
        inputs: int = 3,
        outputs: int = 1,
        stride: int = 2,
    ) -> None:
        super().__init__(block, layers, width, stem, inputs, stride)
        self.fc = nn.Linear(self.channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, outputs)."""
        return cast(Tensor, self.fc(self.maps(x)[-1].mean(dim=(2, 3))))


class Normalised(nn.Module):
    """A body behind ImageNet's normalisation: RGB in [0, 1], (N, 3, H, W), to logits (N,).

    Args:
        body: from normalised images to (N, 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(IMAGENET_DEFAULT_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_DEFAULT_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N,)."""
        logits: Tensor = self.body((image - self.mean) / self.std)
        return logits[:, 0]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep what is computed inside from half precision, where training is in mixed precision."""
    if torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


def start_from_imagenet(network: nn.Module, url: str) -> None:
    """Load ImageNet's weights from where they are published into all of a network but its head ``fc``.

    Raises:
        CheckpointError: they can't be fetched, or are not this network's.
    """
    load_backbone(network, fetch(url), url)


def load_backbone(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights into all of a network but its head ``fc``, which it need not have.

    Args:
        network: named as the weights are.
        weights: whose own head is left out.
        source: for the complaint.

    Raises:
        CheckpointError: they are not this network's.
    """
    body = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    wanted = [key for key in network.state_dict() if not key.startswith("fc.") and "num_batches" not in key]
    if missing := [key for key in wanted if key not in body]:
        got = f"none of {', '.join(missing[:3])}"
        raise CheckpointError(problem(f"weights {source}", "all of the network's", got, "Check that they are its own"))
    try:
        network.load_state_dict({**network.state_dict(), **body})
    except RuntimeError as error:
        got = " ".join(str(error).split())[:300]
        raise CheckpointError(
            problem(f"weights {source}", "the network's and no others", got, "Check that they are its own")
        ) from error


def fetch(url: str) -> dict[str, Tensor]:
    """Return published weights, from torch's cache or else from the network; nothing in the file is executed.

    Raises:
        CheckpointError: they are in neither.
    """
    try:
        state = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        place = f"{torch.hub.get_dir()}/checkpoints"
        do = f"Fetch the file where there is a network and put it into {place}, or train from scratch"
        raise CheckpointError(problem(f"ImageNet weights {url}", "a download", str(error), do)) from error
    return cast(dict[str, Tensor], state)
