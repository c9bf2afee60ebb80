"""Trains the miniature corpus' generators on the photographs kept for that, and writes them as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.generators.architectures import GENERATORS, Diffusion, Flow, Generator, VectorQuantised
from export.generators.dyadic import PIXEL_STEP, check_exact
from export.generators.graph import write_generator
from harness.data.miniature.photographs import PHOTOGRAPHS, load

Report = Callable[[str, int, float], None]
"""Called with a generator's name, the step, and the loss."""

NOISE = 12
"""Standard deviation of the diffusion generator's noise, in 1/256."""


def train_generators(
    out: Path, names: Sequence[str] = tuple(GENERATORS), steps: int = 1500, seed: int = 0, report: Report | None = None
) -> dict[str, float]:
    """Train generators and write ``out/NAME.onnx`` each.

    Args:
        out: folder of the graphs.
        names: which.
        steps: optimiser steps each.
        seed: of weights and patches; the same seed gives the same patches to all.
        report: receives the loss.

    Returns:
        PSNR in dB on training patches, by name.
    """
    photographs = [load(item) for item in PHOTOGRAPHS if item.tier == "generator"]
    quality = {}
    for name in names:
        torch.manual_seed(seed)
        generator = GENERATORS[name]()
        patches = Patches(photographs, seed)
        train(name, generator, patches, steps, report)
        generator.eval()
        check_exact(generator)
        write_generator(generator, out / f"{name}.onnx")
        quality[name] = psnr(generator, patches.draw(64), seed)
    return quality


class Patches:
    """Random square patches of photographs, flipped and with their colours swapped at random.

    The photographs kept for training are few; swapped channels show a generator the colours that they lack.

    Args:
        photographs: uint8 (height, width, 3) each.
        seed: of the draws.
        side: of a patch in pixels.
    """

    def __init__(self, photographs: Sequence[np.ndarray], seed: int, side: int = 64) -> None:
        self.photographs, self.side = photographs, side
        self.random = np.random.default_rng(seed)

    def draw(self, count: int) -> Tensor:
        """Return patches as uint8 (count, side, side, 3)."""
        cuts = []
        for index in self.random.integers(len(self.photographs), size=count):
            photograph = self.photographs[index]
            top = self.random.integers(photograph.shape[0] - self.side + 1)
            left = self.random.integers(photograph.shape[1] - self.side + 1)
            cut = photograph[top : top + self.side, left : left + self.side]
            cut = cut[:, :, self.random.permutation(3)]
            cuts.append(cut[:, ::-1] if self.random.random() < 0.5 else cut)
        return torch.from_numpy(np.stack(cuts))


def train(name: str, generator: Generator, patches: Patches, steps: int, report: Report | None = None) -> None:
    """Fit one generator in place: reconstruction, and what its kind adds to it."""
    optimiser = torch.optim.Adam(generator.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    critic = Critic() if name == "gan" else None
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99)) if critic else None
    if isinstance(generator, VectorQuantised):
        seed_codebook(generator, pixels(patches.draw(64)))
    for step in range(steps):
        x = pixels(patches.draw(16))
        loss, made = loss_of(generator, x, torch.Generator().manual_seed(step))
        if critic is not None and critic_optimiser is not None and step > steps // 2:
            real, fake = critic(x), critic(made.detach())
            critic_loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            critic_optimiser.zero_grad()
            critic_loss.backward()
            critic_optimiser.step()
            loss = loss - 0.005 * critic(made).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None and step % 100 == 0:
            report(name, step, float(loss.detach()))


def loss_of(generator: Generator, x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the loss on pixels (N, 3, H, W) in [0, 1), and what was made of them."""
    if isinstance(generator, Diffusion):
        level = torch.randint(2, NOISE + 1, (len(x), 1, 1, 1), generator=random) * PIXEL_STEP
        noise = torch.round(torch.randn(x.shape, generator=random) * level / PIXEL_STEP) * PIXEL_STEP
        made = generator.denoise(torch.clamp(x + noise, -0.5, 1.5))
        return F.mse_loss(made, x) * 100, made
    if isinstance(generator, Flow):
        kept, other = generator.latent(x)
        return (kept.abs().mean() + 0.05 * other.abs().mean()) * 10, kept
    if isinstance(generator, VectorQuantised):
        latent = generator.encode(x)
        codes = generator.nearest(latent)
        made = generator.decode(latent + (codes - latent).detach())
        pull = F.mse_loss(codes, latent.detach()) + 0.25 * F.mse_loss(latent, codes.detach())
        return F.mse_loss(made, x) * 100 + pull, made
    made = generator.remake(x)
    return F.mse_loss(made, x) * 100 + F.l1_loss(made, x), made


def seed_codebook(generator: VectorQuantised, x: Tensor) -> None:
    """Start the codebook from vectors that the encoder really gives."""
    with torch.no_grad():
        vectors = generator.encode(x).split(generator.depth, dim=1)
        for group, part in enumerate(vectors):
            flat = part.permute(0, 2, 3, 1).reshape(-1, generator.depth)
            chosen = flat[torch.randperm(len(flat))[: generator.codes]]
            generator.codebook[group] = chosen + 0.02 * torch.rand_like(chosen)


class Critic(nn.Sequential):
    """Patch discriminator (hinge loss) of the adversarial generator."""

    def __init__(self, width: int = 24) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, 1, 1),
        )


def pixels(patches: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W), multiples of 1/256."""
    return patches.permute(0, 3, 1, 2).to(torch.float32) * PIXEL_STEP


def psnr(generator: Generator, patches: Tensor, seed: int) -> float:
    """Return the PSNR in dB of uint8 patches passed through a generator."""
    noise = None
    if generator.takes_noise:
        drawn = torch.randn(patches.shape, generator=torch.Generator().manual_seed(seed)) * NOISE
        noise = torch.clamp(torch.round(drawn), -128, 127).to(torch.int8)
    with torch.no_grad():
        error = (generator(patches, noise).float() - patches.float()) ** 2
    return float(10 * torch.log10(255**2 / error.mean()))
