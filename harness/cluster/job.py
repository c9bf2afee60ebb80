"""What a worker elsewhere has to know of a run, as plain data: models, data and where records go. Never code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.data.folder import FolderDataset
from harness.data.manifest import Manifest
from harness.data.remote import RemoteDataset
from harness.data.sample import Dataset, Sample
from harness.environment import source_digest
from harness.errors import DataError, ImageError, problem
from harness.models import Model, Wanted
from harness.plan import Cell
from harness.remote import is_url
from harness.shards import Shard

SHARE = "Share the folder with every worker at the same path, or name the data by a URL"


@dataclass(frozen=True)
class ModelPlace:
    """A model: how it is opened, and what it was when the run was planned."""

    wanted: Wanted
    weights_sha256: str
    platform: str


@dataclass(frozen=True)
class DataPlace:
    """A data set: the folder or the URL that its images are below, and what stands on it; its manifest goes apart."""

    root: str
    ready: bool
    digest: str

    def open(self, name: str, manifest: bytes, host: str) -> Dataset:
        """Return the data set as this machine sees it. Raises DataError where its folder is not here."""
        if is_url(self.root):
            return RemoteDataset(name, self.root, Manifest(manifest), ready=self.ready)
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(problem(f"data {name} on worker {host}", f"a folder {root}", "none", SHARE))
        return SharedFolder(name, root, Manifest(manifest), host, ready=self.ready)


class SharedFolder(FolderDataset):
    """A folder on a worker that has to hold the bytes that the manifest was made of elsewhere.

    Args:
        name, root, manifest, ready: as of :class:`FolderDataset`.
        host: the worker's.
    """

    def __init__(self, name: str, root: Path, manifest: Manifest, host: str, ready: bool) -> None:
        super().__init__(name, root, manifest, ready=ready)
        self.host = host

    def read(self, sample: Sample) -> bytes:
        """Return the file's bytes.

        Raises:
            ImageError: ``missing``, as it was for the manifest.
            DataError: it is missing here alone, or another file.
        """
        try:
            content = super().read(sample)
        except ImageError:
            if not sample.bytes:
                raise
            content = b""
        if hashlib.sha256(content).hexdigest() != sample.sha256:
            what, got = f"data {self.name} on worker {self.host}: {sample.path}", f"{len(content):,} others"
            raise DataError(problem(what, "the bytes that the manifest was made of", got, SHARE))
        return content


@dataclass(frozen=True)
class Job:
    """All that the shards of a run have in common.

    Attributes:
        code: digest of the harness that planned it; another one may answer otherwise.
        seed: the suite's.
        records: folder or URL of the cells' store.
        mark: name of a file that tells this folder from another of the same path; empty where there is a URL.
        models, data: by name.
    """

    code: str
    seed: int
    records: str
    mark: str
    models: dict[str, ModelPlace]
    data: dict[str, DataPlace]


JOB, SHARD = TypeAdapter(Job), TypeAdapter(Shard)
"""Into JSON and back."""


def stays(cell: Cell, models: Mapping[str, Model], datasets: Mapping[str, Dataset]) -> bool:
    """Whether a cell can't go elsewhere: its model asks other models first, or its images are in no folder or URL."""
    return bool(models[cell.model].card.represent) or not isinstance(datasets[cell.data], FolderDataset | RemoteDataset)


def make_job(
    cells: Iterable[Cell],
    wanted: Iterable[Wanted],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    records: Path | str,
    mark: str,
    seed: int,
) -> tuple[Job, dict[str, bytes]]:
    """Return what workers have to know for some cells, and the manifests of their data sets.

    Args:
        cells: none of them stays.
        wanted: how the suite's models are opened.
        models, datasets: opened, by name.
        records: root of the store.
        mark: of it, as in :class:`Job`.
        seed: the suite's.
    """
    cells = list(cells)
    asked, about = {cell.model for cell in cells}, {cell.data for cell in cells}
    places = {
        item.name: ModelPlace(item, models[item.name].info.weights_sha256, models[item.name].info.platform)
        for item in wanted
        if item.name in asked
    }
    data, manifests = {}, {}
    for name in sorted(about):
        held = datasets[name]
        assert isinstance(held, FolderDataset | RemoteDataset)
        data[name] = DataPlace(str(held.root), held.ready, held.digest)
        manifests[name] = held.manifest.content()
    place = str(records.resolve() if isinstance(records, Path) else records)
    return Job(source_digest(), seed, place, mark, places, data), manifests
