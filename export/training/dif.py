"""Trains a deep image fingerprint: a U-Net's answer to fixed noise that correlates with one generator's residuals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.training.spec import FingerprintSpec
from harness.errors import DivergedError, problem
from harness.metrics.binary import auroc, rates

JITTER = 0.03
DECAY = 0.99
NOISE_CHANNELS = 16

EVERY = 25
"""Steps between looks at the validation residuals."""

BLOCK = 256
"""Residuals in memory at once."""


class Block(nn.Sequential):
    """Two 3 x 3 convolutions with batch norm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for source in (inputs, outputs):
            layers += [nn.Conv2d(source, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers)


UPS: dict[str, Callable[[int, int], nn.Module]] = {
    "transposed": lambda inputs, outputs: nn.ConvTranspose2d(inputs, outputs, 2, stride=2),
    "nearest": lambda inputs, outputs: nn.Sequential(
        nn.Upsample(scale_factor=2.0), nn.Conv2d(inputs, outputs, 3, padding=1)
    ),
}
"""How a decoder can enlarge twofold, (inputs, outputs) -> layers; the published one's is ``transposed``."""


class UNet(nn.Module):
    """The fingerprint's generator: depth 4, skip connections, tanh.

    Args:
        base: channels of the first level; they double on the way down.
        depth: levels.
        up: how its decoder enlarges; one of ``UPS``.
    """

    def __init__(self, base: int = 16, depth: int = 4, up: str = "transposed") -> None:
        super().__init__()
        sizes = [base * 2**level for level in range(depth)]
        self.down = nn.ModuleList(Block(i, o) for i, o in zip([NOISE_CHANNELS, *sizes], sizes, strict=False))
        self.middle = Block(sizes[-1], sizes[-1])
        self.up = nn.ModuleList(
            nn.Sequential(UPS[up](i, o), nn.BatchNorm2d(o))
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
class Residuals:
    """Residuals of one class, wherever they lie.

    Attributes:
        stored: float16 (n, 3 * H * W), each row of mean 0 and variance 1; a memory map will do.
        rows: those of this class.
    """

    stored: NDArray[np.float16]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: NDArray[np.int64]) -> Tensor:
        """Return residuals as unit vectors, float32 (k, 3 * H * W): a dot product is Pearson's correlation."""
        chosen = torch.from_numpy(np.asarray(self.stored[self.rows[positions]]))
        return chosen.float() / math.sqrt(self.stored.shape[1])

    def blocks(self) -> Iterator[Tensor]:
        """Yield them all, in order."""
        for start in range(0, len(self), BLOCK):
            yield self.take(np.arange(start, min(start + BLOCK, len(self))))


@dataclass(frozen=True)
class Classes:
    """The residuals of reals and of fakes."""

    real: Residuals
    fake: Residuals


@dataclass(frozen=True)
class Look:
    """One look at the validation residuals.

    Attributes:
        step: when.
        loss: of that step.
        auroc, balanced_accuracy: of the moving average, as the centres on the training residuals orient and part it.
    """

    step: int
    loss: float
    auroc: float
    balanced_accuracy: float


@dataclass(frozen=True)
class Fingerprint:
    """A fingerprint and where it puts the two classes.

    Attributes:
        pattern: float32 (3, H, W): the moving average of the U-Net's answers.
        mu_real, mu_fake: its mean correlation with all training reals and fakes. Which is larger is free.
        look: what it reached on the validation residuals, and when.
    """

    pattern: Tensor
    mu_real: float
    mu_fake: float
    look: Look

    def state(self) -> dict[str, Any]:
        """Return it as plain values and a tensor."""
        return {**vars(self), "look": asdict(self.look)}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Fingerprint:
        """Return what :meth:`state` said."""
        return cls(**{**state, "look": Look(**state["look"])})


def normalise(residuals: Tensor) -> Tensor:
    """Return residuals (n, 3, H, W) as rows of mean 0 and variance 1, (n, 3 * H * W); constant ones as zeros."""
    flat = residuals.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-12)


def correlate(fingerprint: Tensor, residuals: Tensor) -> Tensor:
    """Return Pearson correlations (n,) of one fingerprint (3, H, W) with unit vectors (n, 3 * H * W) of mean 0."""
    flat = fingerprint.flatten() - fingerprint.mean()
    correlations: Tensor = residuals @ (flat / torch.linalg.vector_norm(flat))
    return correlations


def pair_loss(correlations: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return DIF's loss over the pairs (i, i + n/2), divided by the margin.

    Like pairs: the distance of their correlations; unlike pairs: what that distance lacks of the margin.
    """
    half = len(labels) // 2
    distance = (correlations[:half] - correlations[half : 2 * half]).abs()
    alike = labels[:half] == labels[half : 2 * half]
    return torch.where(alike, distance, torch.relu(margin - distance)).mean() / margin


class FingerprintTraining:
    """The training of one fingerprint (Sinitsa and Fried, WACV 2024), step by step, and its state between two.

    A batch is half real, half fake, paired at random. Every ``EVERY`` steps the moving average of the answers is held
    against the validation residuals; the best one counts, and it is over when none was better ``patience`` times. What
    a step draws follows from the seed and its number, so that a state goes on as if it had never been put down: to the
    bit on a processor.

    Args:
        spec: steps, batch, margin, base, rate, patience and size.
        seed: of weights, noise and pairs.
        train: residuals of both classes.
        validation: the same of images that are neither trained nor tested on.
        device: where the U-Net is.
    """

    def __init__(
        self, spec: FingerprintSpec, seed: int, train: Classes, validation: Classes, device: torch.device
    ) -> None:
        self.spec, self.seed, self.train, self.validation, self.device = spec, seed, train, validation, device
        shape = (spec.size, spec.size)
        torch.manual_seed(_drawn(seed, 0))
        self.network = UNet(spec.base).to(device)
        self.noise = torch.rand(1, NOISE_CHANNELS, *shape) * 0.1
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=spec.lr)
        self.average = torch.zeros(3, *shape, device=device)
        self.step, self.waited = 0, 0
        self.looks: list[Look] = []
        self.best: Fingerprint | None = None

    @property
    def over(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.spec.steps or self.waited >= self.spec.patience

    def advance(self) -> None:
        """Take one step, and look at the validation residuals where it is time.

        Raises:
            DivergedError: the answers are no numbers any more.
        """
        self.step += 1
        random = np.random.default_rng((self.seed, self.step))
        jitter = torch.randn(self.noise.shape, generator=torch.Generator().manual_seed(_drawn(self.seed, self.step)))
        made = self.network((self.noise + jitter * JITTER).to(self.device))[0]
        residuals, labels = self._batch(random)
        loss = pair_loss(correlate(made, residuals), labels, self.spec.margin)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.average = DECAY * self.average + (1 - DECAY) * made.detach()
        if self.step % EVERY == 0 or self.step == self.spec.steps:
            self._look(float(loss.detach()))

    def state(self) -> dict[str, Any]:
        """Return all that a resumption needs, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
            "waited": self.waited,
            "looks": [asdict(look) for look in self.looks],
            "best": self.best.state() if self.best else None,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` said."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"].to(self.device)
        self.step, self.waited = state["step"], state["waited"]
        self.looks = [Look(**look) for look in state["looks"]]
        self.best = Fingerprint.of(state["best"]) if state["best"] else None

    def _batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        half = self.spec.batch // 2
        parts = [part.take(random.integers(len(part), size=half)) for part in (self.train.real, self.train.fake)]
        order = torch.from_numpy(random.permutation(2 * half))
        labels = torch.arange(2).repeat_interleave(half)
        return torch.cat(parts)[order].to(self.device), labels[order].to(self.device)

    def _look(self, loss: float) -> None:
        mu_real, mu_fake = (float(self._correlations(part).mean()) for part in (self.train.real, self.train.fake))
        held = [self._correlations(part) for part in (self.validation.real, self.validation.fake)]
        scores = (np.concatenate(held) - (mu_real + mu_fake) / 2) * (1.0 if mu_fake >= mu_real else -1.0)
        if not np.isfinite(scores).all():
            what = f"fingerprint: correlations after {self.step:,} steps"
            raise DivergedError(problem(what, "numbers", "nan", "Lower lr"))
        labels = np.repeat([0, 1], [len(part) for part in held])
        accuracy = float(rates(scores, labels, 0.0).balanced_accuracy)
        look = Look(self.step, loss, float(auroc(scores, labels)), accuracy)
        self.looks.append(look)
        if self.best is None or look.auroc > self.best.look.auroc:
            self.best, self.waited = Fingerprint(self.average.cpu().clone(), mu_real, mu_fake, look), 0
        else:
            self.waited += 1

    def _correlations(self, part: Residuals) -> NDArray[np.float64]:
        found = [correlate(self.average, block.to(self.device)).cpu().double().numpy() for block in part.blocks()]
        return np.concatenate(found)


def train_fingerprint(
    training: FingerprintTraining, report: Callable[[FingerprintTraining], None] = lambda training: None
) -> Fingerprint:
    """Take the steps that are left and return the best fingerprint; ``report`` hears of each."""
    while not training.over:
        training.advance()
        report(training)
    assert training.best is not None
    return training.best


def _drawn(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))
