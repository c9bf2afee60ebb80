"""Pairs of images to hold against each other: two files, or two folders by name. Lists names, reads when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from harness.data.layouts import image_files
from harness.errors import DataError, ImageError, problem
from harness.images import Image, decode
from harness.names import slug

Read = Callable[[], tuple[Image, Image]]
"""Decodes both images of a pair; raises ImageError where one can't be used."""


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two images.

    Attributes:
        name: unique among its fellows, and a folder's name.
        titles: what the two are called.
        read: both as uint8 RGB.
    """

    name: str
    titles: tuple[str, str]
    read: Read


@dataclass(frozen=True)
class Paired:
    """All pairs of two places.

    Attributes:
        name: of the two, fit for a folder.
        pairs: in the order of the first folder.
        alone: names that only one folder has, with that folder.
    """

    name: str
    pairs: Sequence[ImagePair]
    alone: Sequence[tuple[str, Path]] = ()


def pair_paths(a: Path, b: Path) -> Paired:
    """Pair two files, or the images of two folders.

    Files of one path below their folders are a pair. Of what is left, those whose paths differ in the suffix alone are
    one, where each folder has just one of them. A pair is named after its first image.

    Raises:
        DataError: there is no such file or folder, one of each, or no pair.
    """
    for path in (a, b):
        if not path.exists():
            raise DataError(problem(str(path), "a file or a folder", "none", "Check the path"))
    if a.is_dir() != b.is_dir():
        kinds = " and ".join("a folder" if path.is_dir() else "a file" for path in (a, b))
        raise DataError(problem(f"{a} and {b}", "two files or two folders", kinds, "Name two of a kind"))
    both = "-".join(slug(path.resolve().name if path.is_dir() else path.stem) for path in (a, b))
    if not a.is_dir():
        return Paired(both, [ImagePair(slug(a.stem), (a.name, b.name), partial(read_files, a, b))])
    names, others = ({item.relative_to(root).as_posix(): item for item in image_files(root)} for root in (a, b))
    partners = {name: name for name in names if name in others}
    ours, theirs = (_by_stem(set(found) - set(partners)) for found in (names, others))
    partners |= {ours[stem]: theirs[stem] for stem in ours if stem in theirs}
    if not partners:
        got = f"{len(names)} and {len(others)} images, no two of one name"
        raise DataError(problem(f"{a} and {b}", "images of one name in both", got, "Rename them, or name two files"))
    chosen = {name: partners[name] for name in names if name in partners}
    taken = {*chosen.values()}
    alone = [(name, a) for name in names if name not in chosen] + [(name, b) for name in others if name not in taken]
    listed = ((name, (name, other), partial(read_files, names[name], others[other])) for name, other in chosen.items())
    return Paired(both, named_pairs(listed), alone)


def named_pairs(listed: Iterable[tuple[str, tuple[str, str], Read]]) -> list[ImagePair]:
    """Return pairs named after a path without its suffix: fit for folders, numbered where names would meet.

    Args:
        listed: path, the two titles, and what reads both images.
    """
    taken = {"figures.csv"}
    pairs = []
    for path, titles, read in listed:
        plain = unique = slug(PurePosixPath(path).with_suffix("").as_posix())
        number = 1
        while unique.lower() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.lower())
        pairs.append(ImagePair(unique, titles, read))
    return pairs


def read_files(a: Path, b: Path) -> tuple[Image, Image]:
    """Decode two files. Raises ImageError ``missing`` where one can't be read, or as :func:`decode`."""
    first, second = (_read(path) for path in (a, b))
    return first, second


def _read(path: Path) -> Image:
    try:
        content = path.read_bytes()
    except OSError as error:
        what, got = str(path), error.strerror or str(error)
        raise ImageError("missing", problem(what, "a readable file", got, "Check the path")) from error
    try:
        return decode(content)
    except ImageError as error:
        raise ImageError(error.reason, f"{path}: {error}") from error


def _by_stem(names: Iterable[str]) -> Mapping[str, str]:
    """Return names by their path without suffix, where that is theirs alone."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(PurePosixPath(name).with_suffix("").as_posix(), []).append(name)
    return {stem: same[0] for stem, same in found.items() if len(same) == 1}
