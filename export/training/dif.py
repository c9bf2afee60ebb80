"""Trains a deep image fingerprint: a U-Net's answer to fixed noise that correlates with one generator's residuals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.bank import Bank, Floats
from harness.metrics.binary import auroc

MARGIN = 0.01
JITTER = 0.03
DECAY = 0.99
NOISE_CHANNELS = 16


class Block(nn.Sequential):
    """Two 3 x 3 convolutions with batch norm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for source in (inputs, outputs):
            layers += [nn.Conv2d(source, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers)


class UNet(nn.Module):
    """The fingerprint's generator: depth 4, skip connections, tanh.

    Args:
        base: channels of the first level; they double on the way down.
        depth: levels.
    """

    def __init__(self, base: int = 16, depth: int = 4) -> None:
        super().__init__()
        sizes = [base * 2**level for level in range(depth)]
        self.down = nn.ModuleList(Block(i, o) for i, o in zip([NOISE_CHANNELS, *sizes], sizes, strict=False))
        self.middle = Block(sizes[-1], sizes[-1])
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(i, o, 2, stride=2), nn.BatchNorm2d(o))
            for i, o in zip([sizes[-1], *sizes[:0:-1]], sizes[::-1], strict=True)
        )
        self.join = nn.ModuleList(Block(2 * size, size) for size in sizes[::-1])
        self.last = nn.Conv2d(base, 3, 1)

    def forward(self, noise: Tensor) -> Tensor:
        """(1, 16, H, W), sides multiples of 2**depth -> (1, 3, H, W) in (-1, 1)."""
        kept, x = [], noise
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for up, join, skip in zip(self.up, self.join, reversed(kept), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        return torch.tanh(self.last(x))


@dataclass(frozen=True)
class TrainedFingerprint:
    """A fingerprint and where it puts the two classes.

    Attributes:
        fingerprint: float32 (3, H, W): the moving average of the U-Net's answers.
        mu_real, mu_fake: its mean correlation with all training reals and fakes. Which is larger is free.
        validation_auroc: oriented by the two centres.
        steps: optimiser steps taken to it.
    """

    fingerprint: Floats
    mu_real: float
    mu_fake: float
    validation_auroc: float
    steps: int


def normalise(residuals: NDArray[np.floating]) -> Tensor:
    """Return residuals (n, 3, H, W) as unit vectors without mean, (n, 3 * H * W): a dot product is Pearson's."""
    flat = torch.from_numpy(np.asarray(residuals, np.float32)).flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length.clamp_min(1e-12)


def correlate(fingerprint: Tensor, residuals: Tensor) -> Tensor:
    """Return Pearson correlations (n,) of one fingerprint (3, H, W) with normalised residuals (n, 3 * H * W)."""
    flat = fingerprint.flatten() - fingerprint.mean()
    correlations: Tensor = residuals @ (flat / torch.linalg.vector_norm(flat))
    return correlations


def pair_loss(correlations: Tensor, labels: Tensor, margin: float = MARGIN) -> Tensor:
    """Return DIF's loss over the pairs (i, i + n/2), divided by the margin.

    Like pairs: the distance of their correlations; unlike pairs: what that distance lacks of the margin.
    """
    half = len(labels) // 2
    distance = (correlations[:half] - correlations[half : 2 * half]).abs()
    alike = labels[:half] == labels[half : 2 * half]
    return torch.where(alike, distance, torch.relu(margin - distance)).mean() / margin


def train_fingerprint(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    shape: tuple[int, int],
    *,
    steps: int,
    seed: int,
    base: int = 16,
    batch: int = 64,
    margin: float = MARGIN,
    patience: int = 6,
    report: Callable[[int, float, float], None] | None = None,
) -> TrainedFingerprint:
    """Train one fingerprint (Sinitsa and Fried, WACV 2024) on residuals made beforehand.

    The batch is half real, half fake, paired at random. Every 25 steps the moving average is held against the
    validation residuals, and the best one is returned; training stops when it has not improved ``patience`` times.

    Args:
        train: normalised residuals of reals and of fakes, (n, 3 * H * W) each.
        validation: the same of a split that is neither trained nor tested on.
        shape: (H, W), multiples of 16.
        steps: at most so many optimiser steps.
        seed: of weights, noise and pairs.
        base: channels of the U-Net's first level.
        batch: residuals a step, even.
        margin: of the hinge.
        patience: looks without improvement before stopping.
        report: receives step, loss and validation AUROC.
    """
    torch.manual_seed(seed)
    network = UNet(base)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-4)
    noise = torch.rand(1, NOISE_CHANNELS, *shape) * 0.1
    average = torch.zeros(3, *shape)
    best: TrainedFingerprint | None = None
    waited = 0
    for step in range(1, steps + 1):
        made = network(noise + torch.randn_like(noise) * JITTER)[0]
        residuals, labels = _batch(train, batch)
        loss = pair_loss(correlate(made, residuals), labels, margin)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average = DECAY * average + (1 - DECAY) * made.detach()
        if step % 25 and step != steps:
            continue
        found = _judge(average, train, validation, step)
        if report is not None:
            report(step, float(loss.detach()), found.validation_auroc)
        better = best is None or found.validation_auroc > best.validation_auroc
        best, waited = (found, 0) if better or best is None else (best, waited + 1)
        if waited >= patience:
            break
    assert best is not None
    return best


def train_bank(
    train: Mapping[str, Tensor],
    validation: Mapping[str, Tensor],
    generators: tuple[str, ...],
    shape: tuple[int, int],
    real: str = "nature",
    report: Callable[[str, int, float, float], None] | None = None,
    **options: int | float,
) -> tuple[Bank, dict[str, TrainedFingerprint]]:
    """Train one fingerprint for each generator against the same reals.

    Args:
        train, validation: normalised residuals by subset.
        generators: which subsets are generators.
        shape: (H, W).
        real: the subset of reals.
        report: receives generator, step, loss and validation AUROC.
        options: passed to :func:`train_fingerprint`.
    """
    trained = {
        name: train_fingerprint(
            (train[real], train[name]),
            (validation[real], validation[name]),
            shape,
            report=None if report is None else lambda step, loss, value, name=name: report(name, step, loss, value),  # type: ignore[misc]
            **options,  # type: ignore[arg-type]
        )
        for name in generators
    }
    bank = Bank(
        names=generators,
        fingerprints=np.stack([trained[name].fingerprint for name in generators]),
        mu_real=np.array([trained[name].mu_real for name in generators], np.float32),
        mu_fake=np.array([trained[name].mu_fake for name in generators], np.float32),
    )
    return bank, trained


def _batch(train: tuple[Tensor, Tensor], batch: int) -> tuple[Tensor, Tensor]:
    half = batch // 2
    chosen = [part[torch.randint(len(part), (half,))] for part in train]
    labels = torch.arange(2).repeat_interleave(half)
    order = torch.randperm(2 * half)
    return torch.cat(chosen)[order], labels[order]


def _judge(
    average: Tensor, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], step: int
) -> TrainedFingerprint:
    """Return the moving average with its centres on the training set and its oriented AUROC on validation."""
    mu_real, mu_fake = (float(correlate(average, part).mean()) for part in train)
    real, fake = (correlate(average, part).numpy() for part in validation)
    sign = 1.0 if mu_fake >= mu_real else -1.0
    labels = np.repeat([0, 1], [len(real), len(fake)])
    value = float(auroc(sign * np.concatenate([real, fake]), labels))
    return TrainedFingerprint(average.numpy().copy(), mu_real, mu_fake, value, step)
