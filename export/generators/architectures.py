"""Eight small generators: each takes a photograph's crop apart and makes it again in its own way.

All map uint8 NHWC to uint8 NHWC; height and width must be multiples of 4. Only the way back to pixels differs in
kind: transposed convolution, nearest or bilinear upsampling with convolution, pixel shuffle, vector quantisation, an
adversarially trained decoder, partial diffusion and an invertible flow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.generators.dyadic import ACTIVATION_STEP, PIXEL_STEP, DyadicConv, activate, snap

WIDTH = 24
LATENT = 32
NOISE_STEP = 2.0**-8


class Generator(nn.Module, ABC):
    """Frame of every generator: pixels to multiples of 1/256, `remake`, and back."""

    takes_noise = False

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """uint8 (N, H, W, 3), and int8 noise of the same shape where it is taken -> uint8 (N, H, W, 3)."""
        x = image.permute(0, 3, 1, 2).to(torch.float32) * PIXEL_STEP
        jitter = None if noise is None else noise.permute(0, 3, 1, 2).to(torch.float32) * NOISE_STEP
        made = self.remake(x, jitter)
        return torch.clamp(torch.round(made / PIXEL_STEP), 0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    @abstractmethod
    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, 3, H, W) float32 in [0, 1) -> the same shape, not yet rounded to pixels."""


class Encoder(nn.Module):
    """Two strided convolutions down to a quarter of the side."""

    def __init__(self, latent: int = LATENT) -> None:
        super().__init__()
        self.first = DyadicConv(3, WIDTH, grid=PIXEL_STEP, peak=1.0)
        self.down1 = DyadicConv(WIDTH, WIDTH, stride=2)
        self.down2 = DyadicConv(WIDTH, latent, stride=2)
        self.last = DyadicConv(latent, latent)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, latent, H/4, W/4)."""
        for layer in (self.first, self.down1, self.down2, self.last):
            x = activate(layer(x))
        return x


class Transposed(nn.Module):
    """Doubles the size by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = DyadicConv(inputs, outputs, kernel, stride=2, transposed=True)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return activate(self.conv(x))


class Nearest(nn.Module):
    """Doubles the size by repeating pixels, then convolves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DyadicConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return activate(self.conv(_repeat(x)))


class Bilinear(Nearest):
    """Doubles the size bilinearly, then convolves.

    Half-pixel bilinear doubling is repetition followed by the kernel (1, 2, 1)/4 along each side.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        padded = F.pad(_repeat(x), (1, 1, 1, 1), mode="replicate")
        rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
        both = rows[:, :, :, :-2] + 2 * rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
        return activate(self.conv(snap(both / 16, ACTIVATION_STEP)))


class Shuffle(nn.Module):
    """Doubles the size by rearranging channels into pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DyadicConv(inputs, 4 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        return F.pixel_shuffle(activate(self.conv(x)), 2)


def _repeat(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Autoencoder(Generator):
    """Encoder and a decoder of two doublings of one kind."""

    def __init__(self, double: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Sequential(double(LATENT, WIDTH), double(WIDTH, WIDTH))
        self.last = DyadicConv(WIDTH, 3)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encode and decode."""
        made: Tensor = self.last(self.decoder(self.encoder(x)))
        return made


class VectorQuantised(Generator):
    """Half-size latent whose vectors are replaced by the nearest of a codebook's, in groups of channels."""

    codes, depth, groups = 256, 6, 3

    def __init__(self) -> None:
        super().__init__()
        self.first = DyadicConv(3, WIDTH, grid=PIXEL_STEP, peak=1.0)
        self.down = DyadicConv(WIDTH, self.depth * self.groups, stride=2)
        self.codebook = nn.Parameter(torch.rand(self.groups, self.codes, self.depth))
        self.up = Nearest(self.depth * self.groups, WIDTH)
        self.last = DyadicConv(WIDTH, 3)

    def encode(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, groups * depth, H/2, W/2) before quantisation."""
        return activate(self.down(activate(self.first(x))))

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
    """Adds noise and takes it away again in two steps of one denoiser (variance exploding, Song et al. 2021)."""

    takes_noise = True

    def __init__(self) -> None:
        super().__init__()
        self.first = DyadicConv(12, 2 * WIDTH, grid=PIXEL_STEP, peak=1.5)
        self.middle = nn.ModuleList([DyadicConv(2 * WIDTH, 2 * WIDTH) for _ in range(2)])
        self.last = DyadicConv(2 * WIDTH, 12)

    def denoise(self, x: Tensor) -> Tensor:
        """Noisy (N, 3, H, W), multiples of 1/256 -> the clean estimate on the same grid."""
        hidden = activate(self.first(F.pixel_unshuffle(x, 2)))
        for layer in self.middle:
            hidden = activate(layer(hidden))
        return snap(torch.clamp(F.pixel_shuffle(self.last(hidden), 2), 0.0, 1.0), PIXEL_STEP)

    def remake(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Noise to the full level, denoise, step down to half of the noise, denoise again."""
        assert noise is not None
        noisy = torch.clamp(x + noise, -0.5, 1.5)
        clean = self.denoise(noisy)
        return self.denoise(snap(clean + (noisy - clean) / 2, PIXEL_STEP))


class Shift(nn.Module):
    """What one coupling of the flow adds to one half, given the other; a multiple of 1/256 in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = DyadicConv(6, WIDTH, grid=PIXEL_STEP, peak=8.0)
        self.middle = DyadicConv(WIDTH, WIDTH)
        self.last = DyadicConv(WIDTH, 6)

    def forward(self, kept: Tensor) -> Tensor:
        """(N, 6, h, w) -> the same shape."""
        hidden = activate(self.middle(activate(self.first(kept))))
        return snap(torch.clamp(self.last(hidden), -1.0, 1.0), PIXEL_STEP)


class Flow(Generator):
    """Invertible additive couplings (NICE, Dinh et al. 2014) on 2 x 2 blocks; the latent is rounded between."""

    latent_step = 2.0**-4

    def __init__(self, couplings: int = 4) -> None:
        super().__init__()
        self.nets = nn.ModuleList(Shift() for _ in range(couplings))

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

GENERATORS: dict[str, Callable[[], Generator]] = {
    "deconv": lambda: Autoencoder(lambda i, o: Transposed(i, o, 3)),
    "nearest": lambda: Autoencoder(Nearest),
    "bilinear": lambda: Autoencoder(Bilinear),
    "shuffle": lambda: Autoencoder(Shuffle),
    "vq": VectorQuantised,
    "gan": lambda: Autoencoder(lambda i, o: Transposed(i, o, 4)),
    "diffusion": Diffusion,
    "flow": Flow,
}
"""Generators by name: the subsets of the miniature corpus."""
