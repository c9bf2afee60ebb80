"""A data set whose images are files below one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.manifest import Manifest
from harness.data.sample import Sample, SubsetInfo
from harness.errors import ImageError, problem


class FolderDataset:
    """Files below ``root``, described by a manifest.

    Args:
        name: name in the suite.
        root: folder that the manifest's paths start from.
        manifest: the manifest.
        note: what a report must say of the data.
    """

    def __init__(self, name: str, root: Path, manifest: Manifest, note: str = "") -> None:
        self.name, self.root, self.manifest, self.note = name, root.resolve(), manifest, note

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest's rows."""
        return self.manifest.digest

    def subsets(self) -> list[SubsetInfo]:
        """Return every (subset, split), sorted."""
        return self.manifest.infos

    def samples(self, subset: str, split: str, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        """Yield the subset's samples in manifest order; at most ``limit``, by a seeded hash of the path."""
        return self.manifest.samples(subset, split, limit, seed)

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes.

        Raises:
            ImageError: ``missing``: the file is gone or lies outside the root.
        """
        path = (self.root / sample.path).resolve()
        try:
            if not path.is_relative_to(self.root):
                raise OSError("outside the data root")
            return path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageError("missing", problem(sample.path, "a readable file", reason, "Restore the data")) from error
