"""Trains the miniature corpora's generators on the photographs kept for that, and writes them as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.generators.architectures import Diffusion, Flow, Generator, VectorQuantised, fold, make_generator
from export.generators.dyadic import PIXEL_STEP, check_exact
from export.generators.graph import read_generator, write_generator
from harness.data.miniature.contents import GENERATORS
from harness.data.miniature.designs import DESIGNS, PARENTS
from harness.data.miniature.photographs import PHOTOGRAPHS, load

Report = Callable[[str, int, float], None]
"""Called with a generator's name, the step, and the loss."""

NOISE = 12
"""Standard deviation of the diffusion generators' noise, in their own steps."""


@dataclass(frozen=True)
class Lesson:
    """How long and on what a generator learns.

    Attributes:
        steps: optimiser steps.
        batch: patches a step.
        side: of a patch in pixels.
        rate: peak of the learning rate.
    """

    steps: int
    batch: int
    side: int
    rate: float


OWN, ADDED, CHILD = Lesson(1200, 16, 64, 4e-3), Lesson(400, 8, 48, 4e-3), Lesson(150, 8, 48, 4e-3)
"""Lessons of the corpus' own generators, of those added for attribution, and of children."""

CHILDREN: Mapping[str, tuple[str, ...]] = {
    "gan_child1": ("coffee", "rocket"),
    "gan_child2": ("hubble", "gravel"),
    "nearest_child1": ("coffee", "gravel"),
    "nearest_child2": ("hubble", "rocket"),
}
"""The photographs that each child is fine-tuned on."""


def train_generators(
    out: Path,
    names: Sequence[str] = tuple(DESIGNS),
    steps: int | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, float]:
    """Train generators and write ``out/NAME.onnx`` each.

    Args:
        out: folder of the graphs; children start from their parent's there.
        names: which, children after parents.
        steps: optimiser steps each; None: as many as their lessons say.
        seed: of weights and patches; the same seed gives the same patches to all of one lesson but the children.
        report: receives the loss.

    Returns:
        PSNR in dB on training patches, by name.
    """
    photographs = {item.name: load(item) for item in PHOTOGRAPHS if item.tier == "generator"}
    quality = {}
    for name in names:
        torch.manual_seed(seed)
        generator = make_generator(name)
        lesson, shown, drawn = OWN if name in GENERATORS else ADDED, tuple(photographs), seed
        if name in PARENTS:
            read_generator(generator, out / f"{PARENTS[name]}.onnx")
            lesson, shown, drawn = CHILD, CHILDREN[name], seed + 1 + tuple(CHILDREN).index(name)
        if steps is not None:
            lesson = replace(lesson, steps=steps)
        patches = Patches([photographs[item] for item in shown], drawn, lesson.side)
        train(name, generator, patches, lesson, report)
        generator.eval()
        fold(generator)
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


def train(name: str, generator: Generator, patches: Patches, lesson: Lesson, report: Report | None = None) -> None:
    """Fit one generator in place: reconstruction, and what its design adds to it."""
    optimiser = torch.optim.Adam(generator.parameters(), lr=lesson.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lesson.rate, total_steps=lesson.steps)
    critic = Critic() if generator.design.loss == "adversarial" else None
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99)) if critic else None
    if isinstance(generator, VectorQuantised):
        seed_codebook(generator, pixels(patches.draw(64)))
    for step in range(lesson.steps):
        x = pixels(patches.draw(lesson.batch))
        loss, made = loss_of(generator, x, torch.Generator().manual_seed(step))
        if critic is not None and critic_optimiser is not None and step > lesson.steps // 2:
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
    absolute = generator.design.loss == "l1"
    if isinstance(generator, Diffusion):
        level = torch.randint(2, NOISE + 1, (len(x), 1, 1, 1), generator=random)
        noise = torch.round(torch.randn(x.shape, generator=random) * level) * generator.noise_step
        made = generator.denoise(torch.clamp(x + noise, -0.5, 1.5))
        return F.l1_loss(made, x) * 10 if absolute else F.mse_loss(made, x) * 100, made
    if isinstance(generator, Flow):
        kept, other = generator.latent(x)
        if absolute:
            return (kept.abs().mean() + 0.05 * other.abs().mean()) * 10, kept
        return (kept.square().mean() + 0.05 * other.square().mean()) * 100, kept
    if isinstance(generator, VectorQuantised):
        latent = generator.encode(x)
        codes = generator.nearest(latent)
        made = generator.decode(latent + (codes - latent).detach())
        pull = F.mse_loss(codes, latent.detach()) + 0.25 * F.mse_loss(latent, codes.detach())
        return F.mse_loss(made, x) * 100 + pull, made
    made = generator.remake(x)
    if absolute:
        return F.l1_loss(made, x) * 10, made
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
