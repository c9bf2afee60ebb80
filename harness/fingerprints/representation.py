"""The base of representations: what a model is asked about in place of an image's pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from harness.fingerprints.reference import Reference
from harness.fingerprints.spaces import Embed, Features, Images
from harness.named import Named

Make = Callable[[Images], Features]
"""From uint8 images (n, height, width, 3) to float32 (n, ...)."""


class Representation(Named):
    """A representation; its fields are its parameters."""

    @abstractmethod
    def bind(self, references: Sequence[Reference] = (), embed: Embed | None = None) -> Make:
        """Return what makes it of images, given the references and the embedder that it may need."""


class Statistic(Representation):
    """A representation that needs the image alone."""

    def bind(self, references: Sequence[Reference] = (), embed: Embed | None = None) -> Make:
        """Return :meth:`make`."""
        return self.make

    @abstractmethod
    def make(self, images: Images) -> Features:
        """Return it of images."""
