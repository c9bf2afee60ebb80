"""Makes each image's residual once and keeps it in a file, so that memory holds only what is read. Trains nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.onnx import file_sha256
from export.residual_filters import load_filter
from export.training.dif import Classes, Residuals, normalise
from export.training.jobs import Images
from export.training.shipped import FILTER, WEIGHTS
from harness.errors import CheckpointError, DataError, ImageError, problem
from harness.images import decode
from harness.images.preprocess import Image, Preprocess, preprocess

READ = 32
"""Images in memory at once."""


@dataclass(frozen=True)
class Filter:
    """A residual filter.

    Attributes:
        source: what :func:`load_filter` takes.
        sha256: of its weights; ``none`` for the classical one.
    """

    source: str
    sha256: str

    @classmethod
    def of(cls, said: str, here: Path) -> Filter:
        """Return the filter that a training file names, once it can be loaded.

        Args:
            said: ``dncnn``, ``bilateral`` or a file.
            here: folder that a file is looked for in.

        Raises:
            CheckpointError: no such file, or not a filter's weights.
        """
        if said == "bilateral":
            return cls(said, "none")
        path = WEIGHTS / FILTER if said == "dncnn" else here / said
        if not path.is_file():
            do = "Say dncnn, bilateral, or name weights of `python -m export.training filter`"
            raise CheckpointError(problem(f"residual filter {said}", f"a file at {path}", "none", do))
        load_filter(str(path))
        return cls(str(path), file_sha256(path))


class ResidualFile:
    """Residuals of one size and filter, of all images that some trainings share.

    Args:
        folder: where the file goes.
        filter: the residual filter.
        size: side of the centre crop in pixels.
        parts: the images; one that is in several is filtered once.
    """

    def __init__(self, folder: Path, filter: Filter, size: int, parts: Iterable[Images]) -> None:
        self.filter, self.size = filter, size
        self.spec = Preprocess(crop=size, pad=False, dtype="uint8", layout="NHWC")
        self.places: dict[str, tuple[Images, int]] = {}
        digests: list[str] = []
        for images in parts:
            for position, (path, digest) in enumerate(zip(*_columns(images, "path", "sha256"), strict=True)):
                if path not in self.places:
                    self.places[path] = images, position
                    digests.append(digest)
        self.rows = {path: row for row, path in enumerate(self.places)}
        said = json.dumps([filter.sha256, size, digests])
        self.path = folder / f"residuals-{hashlib.sha256(said.encode()).hexdigest()[:12]}.f16"
        self.shape = (len(self.rows), 3 * size * size)

    def make(self, device: torch.device, report: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Make the file, whole or not at all, unless it is there.

        Args:
            device: where the filter runs.
            report: receives how many images are done, and of how many.

        Raises:
            DataError: an image that can't be decoded.
        """
        if self.path.is_file():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        network, places = load_filter(self.filter.source).to(device), list(self.places.values())
        try:
            with temporary.open("wb") as file, ThreadPoolExecutor(4) as pool, torch.no_grad():
                for start in range(0, len(places), READ):
                    pixels = np.stack(list(pool.map(self._read, places[start : start + READ])))
                    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
                    file.write(normalise(network(images)).half().cpu().numpy().tobytes())
                    report(start + len(pixels), len(places))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def classes(self, images: Images) -> Classes:
        """Return the residuals of some of the images, by class; the file must have been made."""
        stored: NDArray[np.float16] = np.memmap(self.path, np.float16, "r", shape=self.shape)
        (paths,) = _columns(images, "path")
        rows, labels = np.array([self.rows[path] for path in paths]), np.asarray(images.labels)
        return Classes(Residuals(stored, rows[labels == 0]), Residuals(stored, rows[labels == 1]))

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _read(self, place: tuple[Images, int]) -> Image:
        images, position = place
        sample = images[position]
        try:
            return np.asarray(preprocess(decode(images.data.read(sample)), self.spec), np.uint8)
        except ImageError as error:
            what, do = f"{images.data.name}: {sample.path}", "Remove it, or replace it"
            raise DataError(problem(what, "an image that can be decoded", error.reason, do)) from error


def _columns(images: Images, *names: str) -> list[list[str]]:
    return [images.rows[name].to_pylist() for name in names]
