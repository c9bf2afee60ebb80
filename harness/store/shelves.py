"""Where parts lie: a folder here, or a prefix of a store that fsspec reaches. Parts are whole or not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.errors import StoreError, problem
from harness.remote import is_url, local_path, open_place
from harness.store.files import write_atomic


class Shelf(Protocol):
    """Named parts, ``/``-separated; a part is written once and never changed."""

    def write(self, name: str, content: bytes) -> None:
        """Put a part there, in the place of one of that name. Raises StoreError where it is refused."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the parts in a folder; none where there is no such folder."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[bytes | OSError]:
        """Yield each part's bytes, or why this one can't be read. Raises StoreError where none can."""
        ...

    def sizes(self, folder: str) -> Iterable[int]:
        """Return the bytes of each part in a folder."""
        ...


def open_shelf(place: Path | str) -> Shelf:
    """Return the shelf at a folder or a URL. Raises HarnessError for a URL that nothing reaches."""
    if isinstance(place, str) and is_url(place):
        return RemoteShelf(place)
    return LocalShelf(place if isinstance(place, Path) else local_path(place))


class LocalShelf:
    """Parts below a folder, which is made when first written.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole. Raises StoreError where the disk refuses."""
        write_atomic(self.root / name, content)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder that are no temporary ones. Raises StoreError for no path."""
        try:
            return sorted(f"{folder}/{path.name}" for path in (self.root / folder).glob("[0-9]*"))
        except OSError as error:  # a name that no file can have
            what, got = str(self.root)[:200], error.strerror or str(error)
            raise StoreError(problem(what, "a folder of records", got, "Check --out or --records")) from error

    def read(self, names: Sequence[str]) -> Iterator[bytes | OSError]:
        """Yield each file's bytes, or why it can't be read."""
        for name in names:
            try:
                yield (self.root / name).read_bytes()
            except OSError as error:
                yield error

    def sizes(self, folder: str) -> Iterable[int]:
        """Return the bytes of each file in a folder."""
        return [(self.root / name).stat().st_size for name in self.names(folder)]


class RemoteShelf:
    """Parts below a URL; an object of its own each, written in one request.

    Args:
        url: of any file system of fsspec.

    Raises:
        HarnessError: as :func:`harness.remote.open_place`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.filesystem, self.root = open_place(url)

    def write(self, name: str, content: bytes) -> None:
        """Put an object. Raises StoreError where the store refuses or can't be reached."""
        try:
            self.filesystem.pipe_file(self._at(name), content)
        except Exception as error:
            raise self._refused(error) from error

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects below a folder."""
        return sorted(f"{folder}/{name}" for name, _ in self._listed(folder))

    def read(self, names: Sequence[str]) -> Iterator[bytes | OSError]:
        """Yield each object's bytes, fetched together, or that it is gone."""
        if not names:
            return
        try:
            found = self.filesystem.cat([self._at(name) for name in names], on_error="return")
        except Exception as error:
            raise self._refused(error) from error
        for name in names:
            content = found[self._at(name)]
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                raise self._refused(content) from content
            yield content

    def sizes(self, folder: str) -> Iterable[int]:
        """Return the bytes of each object below a folder."""
        return [size for _, size in self._listed(folder)]

    def _listed(self, folder: str) -> list[tuple[str, int]]:
        try:
            found: list[dict[str, Any]] = self.filesystem.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._refused(error) from error
        named = ((item["name"].rpartition("/")[2], int(item["size"] or 0)) for item in found)
        return [(name, size) for name, size in named if name[:1].isdigit()]

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _refused(self, error: Exception) -> StoreError:
        got = f"{type(error).__name__}: {error}"
        do = "Check the URL, the credentials in the environment and the network, then run the same command again"
        return StoreError(problem(self.url, "a store that takes and gives records", got, do))
