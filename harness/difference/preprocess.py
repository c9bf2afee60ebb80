"""What is done to either image before the two are held against each other; knows nothing of the other image."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import pywt
import scipy.fft
from pydantic import Field, PositiveInt, model_validator

from harness.difference.planes import Planes
from harness.named import Named


class Preprocessor(Named):
    """One pre-processor; its fields are its parameters."""

    @property
    def leaves_a_picture(self) -> bool:
        """Whether what it returns can still be looked at: values about [0, 1], not signed."""
        return True

    @abstractmethod
    def __call__(self, planes: Planes) -> Planes:
        """Return float32 (H, W, C), signed where the pre-processor takes an image's mean away."""


class Identity(Preprocessor):
    """Nothing: the image as it is."""

    name = "identity"

    def __call__(self, planes: Planes) -> Planes:
        """Return the image."""
        return planes


class Normalize(Preprocessor):
    """Stretch every image on its own to [0, 1]: (x - min) / (max - min) over all channels; a flat one becomes 0."""

    name = "normalize"

    def __call__(self, planes: Planes) -> Planes:
        """Stretch the values."""
        low, high = planes.min(), planes.max()
        return (planes - low) / (high - low) if high > low else np.zeros_like(planes)


class _Pass(Preprocessor):
    """A filter in frequencies.

    Attributes:
        cutoff: frequency at which half passes, as a share of the highest one (1/2 cycle per pixel) along each axis.
        soft: width of the transition (a raised cosine) in the same unit; 0 is a sharp box, which rings.
    """

    cutoff: float = Field(gt=0, lt=1)
    soft: float = Field(default=0.1, ge=0, le=1)

    def low(self, planes: Planes) -> Planes:
        """Return what lies below the cut-off; borders are mirrored, so that opposite ones do not meet."""
        spectrum = scipy.fft.dctn(planes, type=2, axes=(0, 1), norm="ortho")
        for axis, length in enumerate(planes.shape[:2]):
            spectrum *= self._passed(length).reshape([-1 if place == axis else 1 for place in range(3)])
        return np.asarray(scipy.fft.idctn(spectrum, type=2, axes=(0, 1), norm="ortho"), np.float32)

    def _passed(self, length: int) -> Planes:
        frequency = np.arange(length, dtype=np.float32) / length
        if self.soft < 1e-6:
            return (frequency <= self.cutoff).astype(np.float32)
        phase = np.clip((frequency - self.cutoff) / self.soft + 0.5, 0, 1)
        return np.asarray(0.5 + 0.5 * np.cos(np.pi * phase), np.float32)


class Lowpass(_Pass):
    """Keep what is coarser than the cut-off, with a soft edge."""

    name = "lowpass"
    cutoff: float = Field(default=0.9, gt=0, lt=1)

    def __call__(self, planes: Planes) -> Planes:
        """Filter every channel."""
        return self.low(planes)


class Highpass(_Pass):
    """Keep what is finer than the cut-off, with a soft edge; the result is signed."""

    name = "highpass"
    cutoff: float = Field(default=0.1, gt=0, lt=1)

    @property
    def leaves_a_picture(self) -> bool:
        """Its mean is gone."""
        return False

    def __call__(self, planes: Planes) -> Planes:
        """Filter every channel."""
        return planes - self.low(planes)


class Wavelet(Preprocessor):
    """Keep some bands of a wavelet decomposition and go back to pixels.

    Attributes:
        basis: one of PyWavelets' discrete ones.
        level: how often the image is halved.
        bands: ``approximation``, what is left after that; ``detail``, all bands above it; or one orientation of them.
    """

    name = "wavelet"
    basis: str = "db2"
    level: PositiveInt = 2
    bands: Literal["approximation", "detail", "horizontal", "vertical", "diagonal"] = "approximation"

    @model_validator(mode="after")
    def _known(self) -> Wavelet:
        if self.basis not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"a discrete wavelet of PyWavelets, as haar, db2, sym4 or bior2.2; not {self.basis!r}")
        return self

    @property
    def leaves_a_picture(self) -> bool:
        """Only the approximation keeps the mean."""
        return self.bands == "approximation"

    def __call__(self, planes: Planes) -> Planes:
        """Decompose as far as the image's size allows, drop bands, reconstruct."""
        height, width = planes.shape[:2]
        level = min(self.level, pywt.dwtn_max_level((height, width), self.basis))
        approximation, *details = pywt.wavedec2(planes, self.basis, "symmetric", level, axes=(0, 1))
        if self.bands == "approximation":
            kept = [approximation, *([None] * 3 for _ in details)]
        else:
            wanted = [self.bands in ("detail", name) for name in ("horizontal", "vertical", "diagonal")]
            kept = [
                np.zeros_like(approximation),
                *([band if keep else None for band, keep in zip(bands, wanted, strict=True)] for bands in details),
            ]
        whole = pywt.waverec2([kept[0], *map(tuple, kept[1:])], self.basis, "symmetric", axes=(0, 1))
        return np.asarray(whole[:height, :width], np.float32)


PREPROCESSORS: dict[str, type[Preprocessor]] = {
    kind.name: kind for kind in (Identity, Normalize, Highpass, Lowpass, Wavelet)
}
"""Pre-processors by name; a new one is a class and its entry here."""
