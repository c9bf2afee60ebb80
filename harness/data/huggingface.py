"""A data set of the `datasets` library; its images are read as the bytes that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.inside import read_inside
from harness.data.layouts import Found
from harness.data.manifest import Manifest, ManifestDataset
from harness.data.sample import Sample
from harness.errors import DataError, ImageError, problem

SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


class HuggingFaceDataset(ManifestDataset):
    """Rows of a `datasets.DatasetDict` as samples.

    Args:
        name: name in the suite.
        splits: data sets by our split names, image column undecoded.
        columns: our column names to theirs.
        manifest: the manifest.
    """

    def __init__(self, name: str, splits: Mapping[str, Any], columns: Mapping[str, str], manifest: Manifest) -> None:
        super().__init__(name, manifest)
        self.splits, self.columns = splits, columns

    def read(self, sample: Sample) -> bytes:
        """Return the stored bytes. Raises ImageError where the row has none."""
        try:
            return stored(self.splits, self.columns, sample.path)
        except OSError as error:
            raise ImageError(
                "missing", problem(sample.path, "stored bytes", str(error), "Check the data set")
            ) from error


def load(root: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """Open a data set by local path or name, images undecoded.

    Raises:
        DataError: the extra is not installed, or a column is missing.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise DataError(
            problem("layout huggingface", "the package `datasets`", "none", "Install it: uv sync --extra datasets")
        ) from error
    opened = datasets.load_from_disk(root) if Path(root).is_dir() else datasets.load_dataset(root)
    parts = opened if isinstance(opened, datasets.DatasetDict) else {"test": opened}
    wanted = [columns.get(key, key) for key in ("image", "label")]
    for name, part in parts.items():
        for column in wanted:
            if column not in part.column_names:
                raise DataError(
                    problem(
                        f"{root}, split {name}", f"a column {column}", ", ".join(part.column_names), "Set `columns`"
                    )
                )
    image = columns.get("image", "image")
    return {
        SPLITS.get(name, "test"): part.cast_column(image, datasets.Image(decode=False)) for name, part in parts.items()
    }


def find(splits: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Found]:
    """Yield rows; label 0 real, 1 fake; ``subset`` names the generator (``fake`` and ``nature`` without one)."""
    for split, part in splits.items():
        light = part.select_columns([name for name in part.column_names if name != columns.get("image", "image")])
        for index, row in enumerate(light):
            label = int(row[columns.get("label", "label")])
            subset = str(row.get(columns.get("subset", "subset")) or ("fake" if label else "nature"))
            path = f"{split}/{index}"
            yield Found(path, label, subset, split, str(row.get(columns.get("source", "source")) or path))


def stored(splits: Mapping[str, Any], columns: Mapping[str, str], path: str) -> bytes:
    """Return one row's bytes. Raises OSError where it holds none, and names no file that was downloaded."""
    split, _, index = path.partition("/")
    cell = splits[split][int(index)][columns.get("image", "image")]
    if cell.get("bytes"):
        return bytes(cell["bytes"])
    if not cell.get("path"):
        raise OSError("the row has no image")
    roots = _downloads()
    named = Path(cell["path"]).resolve()
    return read_inside(next((root for root in roots if named.is_relative_to(root)), roots[0]), cell["path"])


def _downloads() -> list[Path]:
    """Return the folders that the library downloads to: no row may name a file elsewhere."""
    from datasets import config
    from huggingface_hub import constants

    return [
        Path(folder).resolve() for folder in (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE)
    ]
