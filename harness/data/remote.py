"""A data set whose images are objects below a URL; lists nothing, for a table says what there is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.data.manifest import Manifest, ManifestDataset
from harness.data.sample import Sample
from harness.errors import DataError, ImageError, problem
from harness.remote import open_place
from harness.store.files import write_atomic


class Objects:
    """What lies below a URL of any file system of fsspec; none of it changes under its name.

    Args:
        url: where paths start from.

    Raises:
        HarnessError: a URL that nothing reaches.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._filesystem, self._root = open_place(url)

    def read(self, path: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: there is none.
            DataError: the store refuses or can't be reached.
        """
        try:
            return bytes(self._filesystem.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            raise
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            do = "Check the URL, the credentials in the environment and the network"
            raise DataError(problem(f"{self.url}/{path}", "a store that gives it", got, do)) from error


class RemoteDataset(ManifestDataset):
    """Objects below a URL, described by a manifest.

    Args:
        name: name in the suite.
        root: the URL that the manifest's paths start from.
        manifest: the manifest.
        note: what a report must say of the data.
        ready: whether its images are neither resized nor cropped.

    Raises:
        HarnessError: a URL that nothing reaches.
    """

    def __init__(self, name: str, root: str, manifest: Manifest, note: str = "", ready: bool = False) -> None:
        super().__init__(name, manifest, note, ready)
        self.root = root
        self._objects = Objects(root)

    def read(self, sample: Sample) -> bytes:
        """Return the object's bytes.

        Raises:
            ImageError: ``missing``: there is no such object.
            DataError: the store refuses or can't be reached.
        """
        try:
            return self._objects.read(sample.path)
        except FileNotFoundError as error:
            got = f"none at {self.root}"
            raise ImageError("missing", problem(sample.path, "an object", got, "Restore the data")) from error


def fetch_table(url: str, cache: Path) -> Path:
    """Return a copy of a CSV or Parquet file at a URL, named after its content.

    Raises:
        DataError: there is none, or the store refuses.
    """
    folder, _, name = url.rpartition("/")
    try:
        content = Objects(folder).read(name)
    except FileNotFoundError as error:
        raise DataError(problem(f"data at {url}", "a CSV or Parquet file", "none", "Check the URL")) from error
    copy = cache / f"{hashlib.sha256(content).hexdigest()}{Path(name).suffix}"
    if not copy.is_file():
        write_atomic(copy, content)
    return copy
