"""From the suite's words to an open data set, its manifest built once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from harness.data import huggingface, miniature
from harness.data.folder import FolderDataset
from harness.data.inside import read_inside
from harness.data.layouts import LAYOUTS, Found, table
from harness.data.manifest import VERSION, Manifest, listing_key, write_manifest
from harness.data.remote import Objects, RemoteDataset, fetch_table
from harness.data.sample import Dataset
from harness.data.splits import assign
from harness.errors import DataError, problem
from harness.events import Events
from harness.remote import is_url, local_path
from harness.spec.suite import DataSpec
from harness.store.found import found_table


def open_dataset(
    name: str,
    spec: DataSpec,
    here: Path,
    cache: Path,
    events: Events,
    splits: Sequence[miniature.Split] = ("val", "test"),
) -> Dataset:
    """Open a data set of a suite.

    Args:
        name: its name there.
        spec: what the suite says.
        here: folder of the suite file; relative roots start there.
        cache: folder of manifests and of the miniature corpora.
        events: receives progress while a manifest is built.
        splits: of the miniature corpus, which are built where they are not there; training alone needs ``train``. A
            corpus that has none of them gives those that it has.

    Raises:
        DataError: it is not there, or not laid out as the suite says.
    """
    spec = spec.resolved()

    def split(found: Iterator[Found]) -> Iterator[Found]:
        return assign(name, found, spec.splits) if spec.splits else found

    if spec.layout == "miniature":
        content = miniature.CONTENTS[spec.root]
        splits = [split for split in splits if split in content.splits] or content.splits
        events.begin("building the miniature corpus", 0, "images")
        root = miniature.build(cache, splits, events.advance, content)
        events.end()
        key = "-".join([root.name, *splits])
        manifest = _manifest(root, partial(miniature.find, root, splits, content.generators), cache, key, events)
        return FolderDataset(name, root, manifest, content.note)
    if spec.layout == "huggingface":
        loaded = huggingface.load(spec.root, spec.columns)
        said = (VERSION, sorted(spec.columns.items()), {k: v._fingerprint for k, v in loaded.items()}, spec.splits)
        manifest = _build(
            cache / f"{hashlib.sha256(repr(said).encode()).hexdigest()}.parquet",
            split(huggingface.find(loaded, spec.columns)),
            lambda path: huggingface.stored(loaded, spec.columns, path),
            events,
        )
        return huggingface.HuggingFaceDataset(name, loaded, spec.columns, manifest)
    if spec.layout == "found":
        listed = found_table(cache.parent / "runs", here, spec.root)
        manifest = _manifest(listed.parent, lambda: split(table(listed, spec.columns)), cache, None, events)
        note = f"Data {name}: images found by run {Path(spec.root).name}, neither resized nor cropped."
        return FolderDataset(name, listed.parent, manifest, note, ready=True)
    if is_url(spec.root):
        return _open_remote(name, spec, cache, split, events)
    root = here / local_path(spec.root)
    if spec.layout == "manifest":
        if not root.is_file():
            raise DataError(problem(f"data {name}", f"a CSV or Parquet file at {root}", "none", "Check the path"))
        find: Callable[[], Iterator[Found]] = partial(table, root, spec.columns)
        root = root.parent
    else:
        find = partial(LAYOUTS[spec.layout], root)
    return FolderDataset(name, root, _manifest(root, lambda: split(find()), cache, None, events))


def _open_remote(
    name: str, spec: DataSpec, cache: Path, split: Callable[[Iterator[Found]], Iterator[Found]], events: Events
) -> RemoteDataset:
    """Open the images that a table at a URL lists, beside it; the table's content tells whether its manifest is new."""
    if spec.layout != "manifest":
        do = f"List its images in a CSV or Parquet file beside them: `layout: manifest, root: {spec.root}/images.csv`"
        raise DataError(problem(f"data {name}: layout {spec.layout}", "a folder", f"the URL {spec.root}", do))
    folder = spec.root.rpartition("/")[0]
    listed = fetch_table(spec.root, cache)
    said = (VERSION, folder, listed.stem, sorted(spec.columns.items()), spec.splits)
    path = cache / f"{hashlib.sha256(repr(said).encode()).hexdigest()}.parquet"
    manifest = _build(path, split(table(listed, spec.columns)), Objects(folder).read, events)
    return RemoteDataset(name, folder, manifest)


def _manifest(
    root: Path, find: Callable[[], Iterator[Found]], cache: Path, key: str | None, events: Events
) -> Manifest:
    """Return the manifest of a folder, built where its listing is new."""
    key = key or listing_key(find(), lambda path: _stat(root / path))
    return _build(cache / f"{key}.parquet", find(), partial(read_inside, root.resolve()), events)


def _build(path: Path, found: Iterator[Found], read: Callable[[str], bytes], events: Events) -> Manifest:
    kept = _kept(path)
    if kept is not None:
        return kept
    events.begin("reading the data's headers", 0, "files")
    write_manifest(path, found, read, lambda done: events.advance(done, 0))
    events.end()
    return Manifest(path)


def _kept(path: Path) -> Manifest | None:
    """Return the manifest that is kept there; None where there is none, or a damaged one."""
    try:
        return Manifest(path)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def _stat(path: Path) -> tuple[int, int]:
    try:
        said = path.stat()
    except OSError:
        return (-1, 0)
    return said.st_size, said.st_mtime_ns
