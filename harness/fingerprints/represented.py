"""Backends of models that are asked about a representation: images in, the model's answers out. Decides nothing."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Backend, EndpointOptions, ModelInfo, Tensors
from harness.errors import CardError, DataError, EndpointRefused
from harness.fingerprints.representation import Make
from harness.fingerprints.spaces import Features, Images


class RepresentedBackend:
    """A backend that makes the representation of images and asks the model behind it.

    Args:
        inner: the model.
        input: name of its input.
        make: the representation.
    """

    def __init__(self, inner: Backend, input: str, make: Make) -> None:
        self.inner, self.input, self.make = inner, input, make
        self.endpoint: str = inner.endpoint
        self.options: EndpointOptions = inner.options

    def info(self) -> ModelInfo:
        """Return what the model behind it says of itself."""
        return self.inner.info()

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer a batch of images, uint8 (n, height, width, 3).

        Raises:
            EndpointError: the model's or an embedder's; EndpointRefused where images have not the reference's size.
        """
        try:
            made = self.make(inputs[self.input])
        except (CardError, DataError) as error:
            raise EndpointRefused(str(error)) from error
        return self.inner.infer({**inputs, self.input: made})

    def close(self) -> None:
        """Close the model behind it."""
        self.inner.close()


class Remembering:
    """A representation whose latest batches are kept: models that share it are asked about a batch one after another.

    Safe to call from several threads; a batch that one is making is waited for by the others.

    Args:
        make: the representation.
        most: batches kept.
    """

    def __init__(self, make: Make, most: int = 4) -> None:
        self.make, self.most = make, most
        self._kept: OrderedDict[bytes, Future[Features]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, images: Images) -> Features:
        """Return the representation of images; read-only, as others may be given the same."""
        said = repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()
        key = hashlib.blake2b(said, digest_size=32).digest()
        with self._lock:
            known = self._kept.get(key)
            future = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        if known is None:
            self._fill(key, future, images)
        return future.result()

    def _fill(self, key: bytes, future: Future[Features], images: Images) -> None:
        """Make it; a failure reaches all who wait, and is not kept."""
        try:
            made = self.make(images)
            made.flags.writeable = False
            future.set_result(made)
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            future.set_exception(error)
