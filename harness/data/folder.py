"""A data set whose images are files below one folder."""

from __future__ import annotations

from pathlib import Path

from harness.data.inside import read_inside
from harness.data.manifest import Manifest, ManifestDataset
from harness.data.sample import Sample
from harness.errors import ImageError, problem


class FolderDataset(ManifestDataset):
    """Files below ``root``, described by a manifest.

    Args:
        name: name in the suite.
        root: folder that the manifest's paths start from.
        manifest: the manifest.
        note: what a report must say of the data.
        ready: whether its images are neither resized nor cropped.
    """

    def __init__(self, name: str, root: Path, manifest: Manifest, note: str = "", ready: bool = False) -> None:
        super().__init__(name, manifest, note, ready)
        self.root = root.resolve()

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes.

        Raises:
            ImageError: ``missing``: the file is gone or lies outside the root.
        """
        try:
            return read_inside(self.root, sample.path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageError("missing", problem(sample.path, "a readable file", reason, "Restore the data")) from error
