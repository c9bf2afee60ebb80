"""Augmentations of training batches, by name and parameters. They change pixels alone, never labels.

A batch is float32 RGB in [0, 1], (N, 3, H, W), on any device; chance comes from the generator that is passed, alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, PlainSerializer
from pydantic_core import PydanticCustomError
from torch import Generator, Tensor

from export.training import augment_spectrum as spectra
from export.training.augment_pixels import blur, jpeg
from harness.images.degrade import Quality
from harness.named import Named, read_named


def _ends(value: Any) -> Any:
    """Read a range: ``0.2:0.8`` or [0.2, 0.8]."""
    ends = value.split(":") if isinstance(value, str) else value
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise PydanticCustomError("range", "a range LOW:HIGH")
    return tuple(ends)


def _rising(ends: tuple[Any, Any]) -> tuple[Any, Any]:
    if ends[0] > ends[1]:
        raise PydanticCustomError("rising", "a range LOW:HIGH with the lower end first")
    return ends


def _said(ends: tuple[Any, Any]) -> str:
    return ":".join(str(end).removesuffix(".0") for end in ends)


T = TypeVar("T")
Range = Annotated[tuple[T, T], BeforeValidator(_ends), AfterValidator(_rising), PlainSerializer(_said, return_type=str)]
"""Lowest and highest value, written ``LOW:HIGH``."""

Share = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[NonNegativeFloat, Field(le=100)]


class Augmentation(Named):
    """A change of each image of a batch, with a chance.

    Attributes:
        p: chance that an image is changed.
    """

    p: Share = 0.5

    @abstractmethod
    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the batch with some images changed, in [0, 1]; the others are as they were, to the bit."""


class BlurJpeg(Augmentation):
    """CNNSpot's: each with chance ``p``, a Gaussian blur, then a JPEG round trip by OpenCV or Pillow, evenly.

    Source: Wang et al., CVPR 2020, "Blur+JPEG"; there, p is 0.5 or 0.1.

    Attributes:
        sigma: of the blur in pixels, drawn evenly; the border is mirrored, the Gaussian cut at 4 sigmas.
        quality: of the JPEG, whole numbers drawn evenly, both ends among them.
    """

    name = "blur_jpeg"
    sigma: Range[Sigma] = (0.0, 3.0)
    quality: Range[Quality] = (30, 100)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Blur some images, then encode some."""
        blurred, sigma, encoded, quality, by_opencv = self.draw(images, generator)
        images = _change(images, blurred, lambda some, at: blur(some, sigma[at]))
        return _change(images, encoded, lambda some, at: jpeg(some, quality[at], by_opencv[at]))

    def draw(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return, image by image: blurred or not, its sigma, encoded or not, its quality, by OpenCV or not."""
        blurred, sigma, encoded, quality, codec = uniform(generator, images, 5, len(images))
        low, high = self.quality
        levels = (low + (high + 1 - low) * quality).floor().clamp(max=high).int()
        return blurred < self.p, _within(self.sigma, sigma), encoded < self.p, levels, codec < 0.5


class SpectralAugmentation(Augmentation):
    """A change of images' spectra F; what comes back is blended with the image, then clipped to [0, 1].

    What is drawn for an image is the same for its three channels, unless a class says otherwise.

    Attributes:
        strength: how much; 0 is the identity, to the bit.
        alpha: drawn evenly; the result is ``alpha * changed + (1 - alpha) * image``.
    """

    strength: Share
    alpha: Range[Share] = (1.0, 1.0)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Change some images."""
        if not self.strength:
            return images

        def change(some: Tensor, places: Tensor) -> Tensor:
            alpha = _within(self.alpha, uniform(generator, images, len(places), 1, 1, 1))
            changed = spectra.to_images(self.spectrum(images, places, generator), images.shape[-1])
            return torch.lerp(some, changed, alpha)

        return _change(images, uniform(generator, images, len(images)) < self.p, change)

    @abstractmethod
    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Return the changed half spectra of ``images[places]``, complex (n, 3, H, W // 2 + 1)."""


class MagnitudeNoise(SpectralAugmentation):
    """|F| times exp(strength * N(0, 1)), drawn for each frequency; phases and the mean are kept. This project's own."""

    name = "magnitude_noise"

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Scale every magnitude but the mean's."""
        spectrum = spectra.to_spectrum(images[places])
        noise = spectra.paired(normal(generator, images, len(places), 1, *spectrum.shape[-2:]), images.shape[-1])
        noise[..., 0, 0] = 0
        return spectra.scale_magnitudes(spectrum, self.strength * noise)


class PhaseNoise(SpectralAugmentation):
    """Phases plus strength * U[-pi, pi], drawn for each frequency; magnitudes are kept. This project's own.

    The mean and the frequencies that are their own negatives, whose phases say only a sign, are kept whole.
    """

    name = "phase_noise"

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Turn every phase."""
        spectrum = spectra.to_spectrum(images[places])
        angles = torch.pi * (2 * uniform(generator, images, len(places), 1, *spectrum.shape[-2:]) - 1)
        return spectra.turn_phases(spectrum, self.strength * spectra.paired(angles, images.shape[-1], odd=True))


class MagnitudeMix(SpectralAugmentation):
    """(1 - l) |F| + l |F of another image of the batch|, with the image's own phases; l drawn from U[0, strength].

    Source: Xu et al., CVPR 2021 (amplitude mix, all frequencies). Yang and Soatto, CVPR 2020 (FDA), replace the low
    frequencies of a square with l = 1; here they are those of a disc, ``radius=0:0.1``. The other image is the next one
    along a random cycle through the batch.

    Attributes:
        radius: of the frequencies that are mixed; 1 lies in the spectrum's corners, 0.71 where an axis ends.
    """

    name = "magnitude_mix"
    radius: Range[Share] = (0.0, 1.0)

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Mix magnitudes with those of the next image."""
        order = torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)
        after = torch.empty_like(order).index_copy(0, order, order.roll(1))
        share = self.strength * uniform(generator, images, len(places), 1, 1, 1)
        own, other = (spectra.to_spectrum(images[at]) for at in (places, after[places]))
        return spectra.mix_magnitudes(own, other, share * _between(spectra.radii(images), self.radius))


class Banded(SpectralAugmentation):
    """A change within a random band of radii [r0, r1), whose edges are two even draws from ``radius``.

    The band's window is 1 in its middle half and falls to 0 at both edges as a raised cosine.

    Attributes:
        radius: where the band may lie; 1 is the spectrum's corners, 0.71 where an axis ends.
    """

    radius: Range[Share] = (0.0, 1.0)

    def window(self, images: Tensor, count: int, generator: Generator) -> Tensor:
        """Draw the windows of ``count`` images, (count, 1, H, W // 2 + 1)."""
        edges = _within(self.radius, uniform(generator, images, 2, count, 1, 1, 1))
        return spectra.band(spectra.radii(images), edges.amin(0), edges.amax(0))


class BandAttenuate(Banded):
    """F times a factor drawn from U[1 - strength, 1] within a random band. This project's own."""

    name = "band_attenuate"

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Weaken each image's band."""
        window = self.window(images, len(places), generator)
        factor = 1 - self.strength * uniform(generator, images, len(places), 1, 1, 1)
        return spectra.attenuate(spectra.to_spectrum(images[places]), window, factor)


class BandNoise(Banded):
    """F plus Gaussian noise within a random band, each channel its own. This project's own.

    Its energy is ``strength`` times the image's without its mean (1: a signal-to-noise ratio of 0 dB).
    """

    name = "band_noise"

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Add noise to each image's band."""
        window = self.window(images, len(places), generator)
        noise = spectra.to_spectrum(normal(generator, images, len(places), *images.shape[1:]))
        return spectra.add_noise(spectra.to_spectrum(images[places]), window * noise, self.strength, images.shape[-1])


class SpectralDropout(SpectralAugmentation):
    """Each frequency is set to 0 with chance ``strength``, its negative with it; the mean is kept.

    Source: Doloriel and Cheung, ICASSP 2024 (frequency masking; there, 0.15).

    Attributes:
        radius: of the frequencies that may go; 1 lies in the spectrum's corners, 0.71 where an axis ends.
    """

    name = "spectral_dropout"
    radius: Range[Share] = (0.0, 1.0)

    def spectrum(self, images: Tensor, places: Tensor, generator: Generator) -> Tensor:
        """Drop frequencies."""
        spectrum = spectra.to_spectrum(images[places])
        drawn = spectra.paired(uniform(generator, images, len(places), 1, *spectrum.shape[-2:]), images.shape[-1])
        return spectra.drop(spectrum, (drawn < self.strength) & _between(spectra.radii(images), self.radius))


AUGMENTATIONS: dict[str, type[Augmentation]] = {
    kind.name: kind
    for kind in (BlurJpeg, MagnitudeNoise, PhaseNoise, MagnitudeMix, BandAttenuate, BandNoise, SpectralDropout)
}
"""Augmentations by name; a new one is a class and its entry here."""


def parse_augmentation(value: object) -> Augmentation:
    """Read an augmentation as recipes write it, or its canonical id.

    Args:
        value: ``"blur_jpeg p=0.5"``, ``"phase_noise strength=0.3 alpha=0.2:0.8"`` or ``{"blur_jpeg": {"p": 0.5}}``.

    Raises:
        SuiteError: an unknown name or parameter, or a value out of range.
    """
    return read_named(value, AUGMENTATIONS, "augmentation", "blur_jpeg p=0.5")


def compose(parts: Sequence[Augmentation]) -> Callable[[Tensor, Generator], Tensor]:
    """Return augmentations one after the other as a single function; none of them return the batch as it is."""

    def composed(images: Tensor, generator: Generator) -> Tensor:
        for part in parts:
            images = part(images, generator)
        return images

    return composed


def uniform(generator: Generator, like: Tensor, *shape: int) -> Tensor:
    """Draw from U[0, 1) on the generator's device, for the device and type of ``like``."""
    return torch.rand(shape, generator=generator, device=generator.device).to(like)


def normal(generator: Generator, like: Tensor, *shape: int) -> Tensor:
    """Draw from N(0, 1) on the generator's device, for the device and type of ``like``."""
    return torch.randn(shape, generator=generator, device=generator.device).to(like)


def _change(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the batch with ``change(images[places], places)``, clipped to [0, 1], in the places that are chosen."""
    places = chosen.nonzero()[:, 0]
    if not len(places):
        return images
    return images.index_copy(0, places, change(images[places], places).clamp(0, 1))


def _within(ends: tuple[float, float], drawn: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * drawn


def _between(radius: Tensor, ends: tuple[float, float]) -> Tensor:
    return (radius >= ends[0]) & (radius <= ends[1])
