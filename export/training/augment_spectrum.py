"""What augmentations do to an image's spectrum, as pure functions: they draw nothing, and clip nothing.

A spectrum is the unitary half spectrum of real images, complex (N, 3, H, W // 2 + 1): its energy is the pixels'.
A frequency's radius is its distance from 0 as a share of the farthest one's: 1 in the corners, 0.71 where an axis ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

RAMP = 0.25
"""Share of a band that each of its soft edges takes."""


def to_spectrum(images: Tensor) -> Tensor:
    """Return the half spectrum of real images (N, 3, H, W)."""
    spectrum: Tensor = torch.fft.rfft2(images, norm="ortho")
    return spectrum


def to_images(spectrum: Tensor, width: int) -> Tensor:
    """Return the real images (N, 3, H, ``width``) of a spectrum."""
    images: Tensor = torch.fft.irfft2(spectrum, s=(spectrum.shape[-2], width), norm="ortho")
    return images


def radii(images: Tensor) -> Tensor:
    """Return the radius of every frequency of images (N, 3, H, W), in [0, 1], (H, W // 2 + 1)."""
    height, width = images.shape[-2:]
    down = torch.fft.fftfreq(height, dtype=images.dtype, device=images.device)
    across = torch.fft.rfftfreq(width, dtype=images.dtype, device=images.device)
    radius: Tensor = torch.hypot(down[:, None], across[None, :]) / 0.5**0.5
    return radius


def paired(field: Tensor, width: int, *, odd: bool = False) -> Tensor:
    """Return values on a half spectrum, made alike (or opposite) where a frequency and its negative are both in it.

    Args:
        field: (..., H, width // 2 + 1).
        width: of the images.
        odd: opposite values, and 0 for the frequencies that are their own negatives (0 and the Nyquist ones).
    """
    rows = torch.arange(field.shape[-2], device=field.device)
    negative = -rows % field.shape[-2]
    field = field.clone()
    for column in _own_mirrors(width):
        values = field[..., column]
        if odd:
            values = torch.where(rows == negative, 0, values)
        field[..., column] = torch.where(rows <= negative, values, (-1 if odd else 1) * values[..., negative])
    return field


def _own_mirrors(width: int) -> list[int]:
    """Return the columns of a half spectrum in which frequencies and their negatives both are."""
    return [0] if width % 2 else [0, width // 2]


def energy(spectrum: Tensor, width: int) -> Tensor:
    """Return the sum of squares of the pixels of each image of ``width``, (N,), by Parseval's theorem."""
    counted = torch.full((spectrum.shape[-1],), 2.0, dtype=spectrum.real.dtype, device=spectrum.device)
    counted[_own_mirrors(width)] = 1
    return (counted * (spectrum.real**2 + spectrum.imag**2)).sum((1, 2, 3))


def band(radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return windows over [low, high): 0 outside, 1 in the middle, RAMP of the band a raised cosine at either edge.

    Args:
        radius: of every frequency, (H, W').
        low, high: edges of each band, (N, 1, 1, 1).
    """
    ramp = (RAMP * (high - low)).clamp(min=1e-6)
    inside = torch.minimum((radius - low) / ramp, (high - radius) / ramp).clamp(0, 1)
    return torch.sin(torch.pi / 2 * inside) ** 2


def scale_magnitudes(spectrum: Tensor, noise: Tensor) -> Tensor:
    """Multiply magnitudes by exp(noise); ``noise`` is paired."""
    return spectrum * torch.exp(noise)


def turn_phases(spectrum: Tensor, angles: Tensor) -> Tensor:
    """Add angles in radians to the phases; ``angles`` are paired and odd."""
    return spectrum * torch.polar(torch.ones_like(angles), angles)


def mix_magnitudes(spectrum: Tensor, reference: Tensor, share: Tensor) -> Tensor:
    """Give (1 - share) |spectrum| + share |reference| the phases of ``spectrum``; share in [0, 1]."""
    return torch.polar(torch.lerp(spectrum.abs(), reference.abs(), share), spectrum.angle())


def attenuate(spectrum: Tensor, window: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor`` where the window is 1, by nothing where it is 0."""
    return spectrum * (1 - window * (1 - factor))


def add_noise(spectrum: Tensor, noise: Tensor, share: float, width: int) -> Tensor:
    """Add noise, scaled so that its energy is ``share`` of each image's without its mean; no noise stays none."""
    varying = spectrum.clone()
    varying[..., 0, 0] = 0
    wanted, there = share * energy(varying, width), energy(noise, width)
    scale = torch.where(there > 0, wanted.sqrt() / there.sqrt(), 0)
    return spectrum + scale[:, None, None, None] * noise


def drop(spectrum: Tensor, dropped: Tensor) -> Tensor:
    """Set frequencies to 0, the mean excepted; ``dropped`` is paired, bool (N, 1, H, W')."""
    dropped = dropped.clone()
    dropped[..., 0, 0] = False
    return spectrum.masked_fill(dropped, 0)
