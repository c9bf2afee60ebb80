"""Small generators: each takes a photograph's crop apart and makes it again in its own way.

All map uint8 NHWC to uint8 NHWC; height and width must be multiples of 4. What is in their designs is built from there;
what is not stands in BUILDERS.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from export.generators.doubling import DOUBLINGS, Nearest, Transposed
from export.generators.dyadic import (
    ACTIVATION_STEP,
    ACTIVATIONS,
    PIXEL_STEP,
    Activation,
    DyadicConv,
    snap,
)
from harness.data.miniature.designs import DESIGNS, PARENTS, Design

WIDTH = 24
LATENT = 32


class Generator(nn.Module, ABC):
    """Frame of every generator: pixels to multiples of 1/256, `remake`, and back.

    Args:
        design: what it is built from.
    """

    takes_noise = False
    noise_step = PIXEL_STEP
    """What one step of the noise adds to a pixel in [0, 1)."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.activation = ACTIVATIONS[design.nonlinearity]

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """uint8 (N, H, W, 3), and int8 noise of the same shape where it is taken -> uint8 (N, H, W, 3)."""
        x = image.permute(0, 3, 1, 2).to(torch.float32) * PIXEL_STEP
        jitter = None if noise is None else noise.permute(0, 3, 1, 2).to(torch.float32) * self.noise_step
        made = self.remake(x, jitter)
        return torch.clamp(torch.round(made / PIXEL_STEP), 0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    @abstractmethod
    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) float32 in [0, 1) -> the same shape, not yet rounded to pixels."""


class Encoder(nn.Module):
    """Two strided convolutions down to a quarter of the side."""

    def __init__(self, activation: Activation, latent: int = LATENT) -> None:
        super().__init__()
        self.activation = activation
        self.first = DyadicConv(3, WIDTH, grid=PIXEL_STEP, peak=1.0)
        self.down1 = DyadicConv(WIDTH, WIDTH, stride=2)
        self.down2 = DyadicConv(WIDTH, latent, stride=2)
        self.last = DyadicConv(latent, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> the features of half size (N, WIDTH, H/2, W/2) and the latent (N, latent, H/4, W/4)."""
        half = self.activation(self.down1(self.activation(self.first(x))))
        return half, self.activation(self.last(self.activation(self.down2(half))))


class Autoencoder(Generator):
    """Encoder and a decoder of two doublings of one kind, past which features of half size may skip.

    Args:
        design: what it is built from.
        kernel: side of transposed convolutions' kernel.
    """

    def __init__(self, design: Design, kernel: int = 3) -> None:
        super().__init__(design)
        double = partial(Transposed, kernel=kernel) if design.up == "transposed" else DOUBLINGS[design.up]
        self.encoder = Encoder(self.activation)
        self.decoder = nn.ModuleList([double(LATENT, WIDTH, self.activation), double(WIDTH, WIDTH, self.activation)])
        self.last = DyadicConv(WIDTH, 3)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encode and decode."""
        half, latent = self.encoder(x)
        hidden = self.decoder[0](latent)
        if self.design.skip == "half":
            hidden = self.activation(hidden + half)
        made: Tensor = self.last(self.decoder[1](hidden))
        return made


class VectorQuantised(Generator):
    """Half-size latent whose vectors are replaced by the nearest of a codebook's, in groups of channels."""

    codes, depth, groups = 256, 6, 3

    def __init__(self, design: Design) -> None:
        super().__init__(design)
        self.first = DyadicConv(3, WIDTH, grid=PIXEL_STEP, peak=1.0)
        self.down = DyadicConv(WIDTH, self.depth * self.groups, stride=2)
        self.codebook = nn.Parameter(torch.rand(self.groups, self.codes, self.depth))
        self.up = Nearest(self.depth * self.groups, WIDTH)
        self.last = DyadicConv(WIDTH, 3)

    def encode(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, groups * depth, H/2, W/2) before quantisation."""
        return self.activation(self.down(self.activation(self.first(x))))

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the nearest codes' vectors, (N, groups * depth, h, w)."""
        book = self.grid_codebook()
        parts = []
        for group, part in enumerate(latent.split(self.depth, dim=1)):
            vectors = book[group]
            distance = F.conv2d(part, -2 * vectors[:, :, None, None], (vectors * vectors).sum(dim=1))
            parts.append(F.embedding(distance.argmin(dim=1), vectors).permute(0, 3, 1, 2))
        return torch.cat(parts, dim=1)

    def grid_codebook(self) -> Tensor:
        """Return the codebook on the activations' grid, (groups, codes, depth)."""
        return snap(torch.clamp(self.codebook, 0.0, 4.0 - ACTIVATION_STEP), ACTIVATION_STEP)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encode, quantise and decode."""
        return self.decode(self.nearest(self.encode(x)))

    def decode(self, latent: Tensor) -> Tensor:
        """(N, groups * depth, h, w) -> (N, 3, 2h, 2w)."""
        made: Tensor = self.last(self.up(latent))
        return made


class Diffusion(Generator):
    """Adds noise and takes it away again by a denoiser at half size (variance exploding, Song et al. 2021).

    Args:
        design: what it is built from; ``input`` skips make the denoiser say what to add to its input.
        steps: denoising steps; each but the last goes down to half of the noise.
        noise_step: what one step of the noise adds to a pixel in [0, 1).
    """

    takes_noise = True

    def __init__(self, design: Design, steps: int = 2, noise_step: float = PIXEL_STEP) -> None:
        super().__init__(design)
        self.steps, self.noise_step = steps, noise_step
        blocks, width = design.up == "shuffle", 2 * WIDTH
        self.down: nn.Module = nn.PixelUnshuffle(2) if blocks else nn.Identity()
        self.up: nn.Module = nn.PixelShuffle(2) if blocks else nn.Identity()
        self.first = DyadicConv(12 if blocks else 3, width, stride=1 if blocks else 2, grid=PIXEL_STEP, peak=1.5)
        self.middle = nn.ModuleList([DyadicConv(width, width) for _ in range(2)])
        self.last = DyadicConv(width, 12) if blocks else DyadicConv(width, 3, 4, stride=2, transposed=True)

    def denoise(self, x: Tensor) -> Tensor:
        """Noisy (N, 3, H, W), multiples of 1/256 -> the clean estimate on the same grid."""
        hidden = self.activation(self.first(self.down(x)))
        for layer in self.middle:
            hidden = self.activation(layer(hidden))
        made = self.up(self.last(hidden))
        if self.design.skip == "input":
            made = x + torch.clamp(made, -2.0, 2.0)
        return snap(torch.clamp(made, 0.0, 1.0), PIXEL_STEP)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Noise to the full level and denoise; while steps are left, step down to half of the noise and again."""
        assert noise is not None
        noisy = torch.clamp(x + noise, -0.5, 1.5)
        clean = self.denoise(noisy)
        for _ in range(1, self.steps):
            noisy = snap(clean + (noisy - clean) / 2, PIXEL_STEP)
            clean = self.denoise(noisy)
        return clean


class Shift(nn.Module):
    """What one coupling of the flow adds to one half, given the other; a multiple of 1/256 in [-1, 1]."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.first = DyadicConv(6, WIDTH, grid=PIXEL_STEP, peak=8.0)
        self.middle = DyadicConv(WIDTH, WIDTH)
        self.last = DyadicConv(WIDTH, 6)

    def forward(self, kept: Tensor) -> Tensor:
        """(N, 6, h, w) -> the same shape."""
        hidden = self.activation(self.middle(self.activation(self.first(kept))))
        return snap(torch.clamp(self.last(hidden), -1.0, 1.0), PIXEL_STEP)


class Flow(Generator):
    """Invertible additive couplings (NICE, Dinh et al. 2014) on 2 x 2 blocks; the latent is rounded between.

    Args:
        design: what it is built from.
        couplings: how many.
        latent_step: to whose multiples the half that the other predicts is rounded.
    """

    def __init__(self, design: Design, couplings: int = 4, latent_step: float = 2.0**-4) -> None:
        super().__init__(design)
        self.latent_step = latent_step
        self.nets = nn.ModuleList(Shift(self.activation) for _ in range(couplings))

    def shift(self, index: int, kept: Tensor) -> Tensor:
        """Return what coupling ``index`` adds to the other half, on the pixels' grid."""
        added: Tensor = self.nets[index](kept)
        return added

    def latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> two halves (N, 6, H/2, W/2): every second pixel of the checkerboard in each."""
        blocks = F.pixel_unshuffle(x, 2)[:, list(CHECKER)]
        kept, other = blocks[:, :6], blocks[:, 6:]
        for index in range(len(self.nets)):
            kept, other = other - self.shift(index, kept), kept
        return kept, other

    def invert(self, kept: Tensor, other: Tensor) -> Tensor:
        """Undo :meth:`latent`, exactly."""
        for index in reversed(range(len(self.nets))):
            kept, other = other, kept + self.shift(index, other)
        blocks = torch.cat([kept, other], dim=1)[:, [CHECKER.index(channel) for channel in range(12)]]
        return F.pixel_shuffle(blocks, 2)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Forward, round the half that the other predicts, and back."""
        kept, other = self.latent(x)
        return self.invert(snap(kept, self.latent_step), other)


CHECKER = (0, 3, 4, 7, 8, 11, 1, 2, 5, 6, 9, 10)
"""Channels of a 2 x 2 pixel-unshuffled RGB image: the two diagonal pixels of every colour, then the other two."""

BUILDERS: Mapping[str, Callable[[Design], Generator]] = {
    "deconv": Autoencoder,
    "nearest": Autoencoder,
    "bilinear": Autoencoder,
    "shuffle": Autoencoder,
    "vq": VectorQuantised,
    "gan": partial(Autoencoder, kernel=4),
    "diffusion": Diffusion,
    "flow": Flow,
    "skip": Autoencoder,
    "gan_nearest": Autoencoder,
    "gan_shuffle": Autoencoder,
    "diffusion_once": partial(Diffusion, steps=1, noise_step=2 * PIXEL_STEP),
    "flow_leaky": partial(Flow, couplings=2, latent_step=2.0**-3),
}
"""Generators by name, with what their designs leave open."""

NORMS: Mapping[str, Callable[..., nn.Module]] = {
    "weight": parametrizations.weight_norm,
    "spectral": parametrizations.spectral_norm,
}


def make_generator(name: str) -> Generator:
    """Build a generator with random weights, normalised as its design says; a child is built as its parent."""
    design = DESIGNS[name]
    generator = BUILDERS[PARENTS.get(name, name)](design)
    if design.norm != "none":
        for layer in _convolutions(generator):
            NORMS[design.norm](layer, dim=1 if layer.transposed else 0)
    return generator


def fold(generator: Generator) -> None:
    """Put the normalisation into the weights, in place; the generator makes what it made."""
    for layer in _convolutions(generator):
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")


def _convolutions(generator: Generator) -> list[DyadicConv]:
    return [layer for layer in generator.modules() if isinstance(layer, DyadicConv)]
