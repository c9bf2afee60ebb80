"""Small data sets of real files that references are fitted to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from harness.data.opening import open_dataset
from harness.data.sample import Dataset
from harness.events import Silent
from harness.fingerprints.spaces import Images
from harness.spec.suite import DataSpec

SIDE = 16


def pictures(count: int, seed: int = 0, side: int = SIDE) -> Images:
    """Return noise, uint8 (count, side, side, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def put(root: Path, images: Mapping[tuple[str, str], Images], **options: int) -> Path:
    """Write images as PNG by (split, subset), with the table that lists them; subset ``nature`` is real."""
    lines = ["path,label,subset,split"]
    for (split, subset), several in images.items():
        (root / split / subset).mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(several):
            path = f"{split}/{subset}/{index:03}.png"
            PILImage.fromarray(image).save(root / path, **options)
            lines.append(f"{path},{int(not subset.startswith('nature'))},{subset},{split}")
    table = root / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def opened(table: Path) -> Dataset:
    """Open it as a suite does."""
    spec = DataSpec(layout="manifest", root=table.name)
    return open_dataset("pictures", spec, table.parent, table.parent / "manifests", Silent())
