"""How images lie on disk, one function a layout: each yields what it finds, in order, and opens no image."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from harness.data.inside import stays_inside
from harness.data.sample import FAKE, NATURE, REAL
from harness.errors import DataError, problem
from harness.names import did_you_mean

SPLITS = {"train": "train", "val": "test", "test": "test"}
"""GenImage's `val` is what everyone tests on."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image file and what its place says of it; attributes as in :class:`harness.data.sample.Sample`."""

    path: str
    label: int
    subset: str
    split: str
    source: str
    target: int | None = None


GENERATORS = {
    "midjourney": "midjourney",
    "imagenet_midjourney": "midjourney",
    "stable_diffusion_v_1_4": "sd14",
    "imagenet_ai_0419_sdv4": "sd14",
    "stable_diffusion_v_1_5": "sd15",
    "imagenet_ai_0424_sdv5": "sd15",
    "adm": "adm",
    "imagenet_ai_0508_adm": "adm",
    "glide": "glide",
    "imagenet_glide": "glide",
    "wukong": "wukong",
    "imagenet_ai_0424_wukong": "wukong",
    "vqdm": "vqdm",
    "imagenet_ai_0419_vqdm": "vqdm",
    "biggan": "biggan",
    "imagenet_ai_0419_biggan": "biggan",
    "sdv1.4": "sd14",
    "sdv1.5": "sd15",
}
"""Folder names of GenImage's downloads, lower case, to the names that figures are reported under."""

REAL_NAMES, FAKE_NAMES = ("0_real", "real", "nature"), ("1_fake", "fake", "ai")


def genimage(root: Path) -> Iterator[Found]:
    """``<generator>/{train,val}/{ai,nature}``, or with the download's inner folder between; classes by file names.

    Raises:
        DataError: no such folder in the root.
    """
    seen = False
    index = {wnid: place for place, wnid in enumerate(wnids())}
    for outer in _folders(root):
        subset = GENERATORS.get(outer.name.lower())
        if subset is None:
            continue
        inner = next((item for item in _folders(outer) if item.name.lower() in GENERATORS), outer)
        for split in ("train", "val"):
            for kind, label in (("ai", FAKE), ("nature", REAL)):
                for path in image_files(inner / split / kind):
                    seen = True
                    name = subset if label == FAKE else f"{NATURE}:{subset}"
                    yield replace(_found(root, path, label, name, SPLITS[split]), target=_shown(path, index))
    if not seen:
        raise _unlike(root, "genimage", "<generator>/{train,val}/{ai,nature}")


NUMBERED = re.compile(r"(?:^|_)(\d{1,3})_[a-z]+\d*_\d+$", re.IGNORECASE)
"""Names of GenImage's fakes: ``033_sdv4_00137``, ``GLIDE_1000_200_00_109_glide_00035``; the class comes first."""


def _shown(path: Path, index: Mapping[str, int]) -> int | None:
    """Return the ImageNet class that a file of GenImage names; None where it names none."""
    if found := NUMBERED.search(path.stem):
        return int(found[1])
    return index.get(_wnid(Path(path.name)) or "")


def real_fake(root: Path) -> Iterator[Found]:
    """``<set>/{0_real,1_fake}`` or ``<set>/{real,fake}``, below ``train``, ``val`` or ``test`` where there are splits.

    The root may itself be one set; a set may hold one class alone.

    Raises:
        DataError: no such folder in the root.
    """
    seen = False
    splits = [item for item in _folders(root) if item.name in SPLITS]
    tops = [(item, item.name) for item in splits] or [(root, "test")]
    for top, split in tops:
        sets = [item for item in _folders(top) if any((item / name).is_dir() for name in (*REAL_NAMES, *FAKE_NAMES))]
        for folder in sets or [top]:
            subset = folder.name if sets else root.name
            for names, label in ((FAKE_NAMES, FAKE), (REAL_NAMES, REAL)):
                for name in names:
                    for path in image_files(folder / name):
                        seen = True
                        yield _found(root, path, label, _subset(subset, label), split)
    if not seen:
        raise _unlike(root, "real_fake", "<set>/{0_real,1_fake} or <set>/{real,fake}")


NEEDED = ("path", "label", "subset")
"""Columns that a table of images must have."""


def table(file: Path, columns: Mapping[str, str] | None = None) -> Iterator[Found]:
    """Rows of a CSV or Parquet file: path, label, subset, and split, source and target where there are such columns.

    Args:
        file: the table; paths in it are relative to its folder.
        columns: our column names to the file's.

    Raises:
        DataError: a missing column, or a row that can't be used, with its line.
    """
    names = {key: (columns or {}).get(key, key) for key in (*NEEDED, "split", "source", "target")}
    for line, row in _rows(file):
        for key in NEEDED:
            if row.get(names[key]) in (None, ""):
                have = ", ".join(str(key) for key in row if key)
                raise DataError(
                    problem(f"{file}:{line}", f"a {names[key]}", f"none in columns {have}", "Add it, or set `columns`")
                )
        path = PurePosixPath(str(row[names["path"]]))
        if not stays_inside(str(path)):
            raise DataError(problem(f"{file}:{line}", "a path inside its folder", str(path), "Move the file there"))
        label = {"0": REAL, "1": FAKE, "real": REAL, "fake": FAKE}.get(str(row[names["label"]]).lower())
        if label is None:
            got = repr(row[names["label"]])
            raise DataError(problem(f"{file}:{line}: label", "0, 1, real or fake", got, "Correct it"))
        split = str(row.get(names["split"]) or "test")
        if split not in ("train", "val", "test"):
            raise DataError(problem(f"{file}:{line}: split", "train, val or test", repr(split), "Correct it"))
        subset = str(row[names["subset"]])
        source, target = str(row.get(names["source"]) or path), _target(row.get(names["target"]), f"{file}:{line}")
        yield Found(str(path), label, subset, split, source, target)


def imagenet(root: Path) -> Iterator[Found]:
    """ImageNet's photographs with the index of their class, in the order of the sorted WordNet ids.

    Class folders named by id (``n01440764/*``, below ``val`` or ``train`` or not), files whose names start with their
    id (``n01440764_tench.JPEG``), or the flat validation set beside a label file: one id a line in the order of the
    sorted files, or lines that start with a file's name and hold its id (``LOC_val_solution.csv``).

    Raises:
        DataError: files without an id, or a label file that does not fit them.
    """
    index = {wnid: place for place, wnid in enumerate(wnids())}
    splits = [item for item in _folders(root) if item.name in SPLITS]
    seen = False
    for top, split in [(item, item.name) for item in splits] or [(root, "test")]:
        files = list(image_files(top))
        named = {path: _wnid(path.relative_to(top)) for path in files}
        if any(wnid is None for wnid in named.values()):
            named = _labelled(files, [top, root])
        for path, wnid in named.items():
            if wnid not in index:
                do = "Name folders or files by WordNet id, or add a label file"
                raise DataError(problem(str(path), "one of ImageNet's 1,000 classes", repr(wnid), do))
            seen = True
            relative = path.relative_to(root).as_posix()
            yield Found(relative, REAL, "imagenet", SPLITS[split], relative, index[wnid])
    if not seen:
        raise _unlike(root, "imagenet", "n01440764/*, n01440764_*.JPEG or files beside a label file")


@cache
def wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet's 1,000 classes, sorted: a class' index is its id's place."""
    return tuple(resources.files("harness.data").joinpath("imagenet_wnids.txt").read_text(encoding="ascii").split())


WNID = re.compile(r"n\d{8}")


def _wnid(path: Path) -> str | None:
    """Return the id that a path names: a folder's, or the start of the file's."""
    folder = next((part for part in path.parts[:-1] if WNID.fullmatch(part)), None)
    start = WNID.match(path.name)
    return folder or (start[0] if start else None)


def _labelled(files: list[Path], folders: list[Path]) -> dict[Path, str | None]:
    """Return the ids of a flat set, from the first label file beside it."""
    tables = [item for folder in folders for item in sorted(folder.glob("*.txt")) + sorted(folder.glob("*.csv"))]
    for path in tables:
        lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if WNID.search(line)]
        if len(lines) == len(files) and all(WNID.fullmatch(line.strip()) for line in lines):
            return dict(zip(files, (line.strip() for line in lines), strict=True))
        by_name = {re.split(r"[\s,;]", line, maxsplit=1)[0].partition(".")[0]: WNID.search(line) for line in lines}
        if lines and all(file.stem in by_name for file in files):
            return {file: found[0] for file in files if (found := by_name[file.stem])}
    hint = "The development kit's ground truth numbers classes in its own order; take a file of WordNet ids"
    raise DataError(problem(str(folders[0]), "names with WordNet ids, or a label file that fits", "neither", hint))


def _target(value: object, where: str) -> int | None:
    """Return a class index of a table's row."""
    if value in (None, ""):
        return None
    try:
        target = int(str(value))
    except ValueError:
        target = -1
    if not 0 <= target < 2**31:
        raise DataError(problem(f"{where}: target", "the index of a class", repr(value), "Correct it"))
    return target


LAYOUTS: Mapping[str, Callable[[Path], Iterator[Found]]] = {
    "genimage": genimage,
    "real_fake": real_fake,
    "imagenet": imagenet,
}
"""Layouts of folders by name."""


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as whole:
                rows = (row for batch in whole.iter_batches() for row in batch.to_pylist())
                yield from enumerate(rows, start=1)
            return
        with file.open(newline="", encoding="utf-8") as handle:
            yield from enumerate(csv.DictReader(handle), start=2)
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        do = "Write it again"
        raise DataError(problem(str(file), "a table in Parquet, or CSV in UTF-8", said, do)) from error


def _subset(name: str, label: int) -> str:
    return name if label == FAKE else f"{NATURE}:{name}"


def _found(root: Path, path: Path, label: int, subset: str, split: str) -> Found:
    relative = path.relative_to(root).as_posix()
    return Found(relative, label, subset, split, relative)


def _folders(root: Path) -> list[Path]:
    return (
        sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
        if root.is_dir()
        else []
    )


def image_files(folder: Path) -> Iterator[Path]:
    """Yield files below a folder, sorted within each directory; hidden ones, links, pipes and devices are left out."""
    if not folder.is_dir():
        return
    for item in sorted(folder.iterdir()):
        if item.name.startswith(".") or item.is_symlink():
            continue
        if item.is_dir():
            yield from image_files(item)
        elif item.suffix.lower() not in NO_IMAGES and item.is_file():
            yield item


NO_IMAGES = {".txt", ".csv", ".json", ".md", ".db", ".ini", ".parquet", ".yaml", ".xml", ".html", ".pdf"}
"""Suffixes of files that lie beside images and never are one; everything else is judged by its bytes."""


def _unlike(root: Path, layout: str, wanted: str) -> DataError:
    """Say what lies in the root, and which layout would fit."""
    if not root.is_dir():
        return DataError(problem(f"data root {root}", "a folder", "none", "Check the path in the suite"))
    names = [item.name for item in sorted(root.iterdir())[:6]]
    fits = [name for name, find in LAYOUTS.items() if name != layout and _fits(find, root)]
    hint = f"Did you mean layout: {fits[0]}?" if fits else did_you_mean(layout, [*LAYOUTS, "manifest"])
    return DataError(problem(f"data root {root} as {layout}", wanted, ", ".join(names) or "an empty folder", hint))


def _fits(find: Callable[[Path], Iterator[Found]], root: Path) -> bool:
    folders = _folders(root)
    if find is genimage:
        return any(folder.name.lower() in GENERATORS for folder in folders)
    if find is imagenet:
        return any(
            _wnid(item.relative_to(root)) for item in [*folders, *root.glob("n*_*")] + [f / "x" for f in folders]
        )
    names = (*REAL_NAMES, *FAKE_NAMES)
    return any((root / name).is_dir() or any((item / name).is_dir() for item in folders) for name in names)
