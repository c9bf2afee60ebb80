"""Found images of a run as files with a manifest beside them, so that any later suite can ask about them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DataError, problem
from harness.names import slug
from harness.store.cells import CellStore
from harness.store.files import write_atomic

FOLDER, MANIFEST = "found", "manifest.csv"

COLUMNS = (
    *("path", "label", "subset", "split", "source", "target"),
    *("seed", "white", "black", "searcher", "agreed_class", "white_class", "black_class", "white_margin"),
    *("black_margin", "psnr", "ssim", "l2", "linf", "sha256", "verified"),
)


def write_found(run: Path, searches: Sequence[tuple[str, str, str, str]], store: CellStore) -> int:
    """Write every kept image of some searches into a run's folder.

    Images of searches that were cut off after they had kept one are written too, as not verified; they are removed
    again where the search has ended since and found nothing that holds.

    Args:
        run: the run's folder.
        searches: key, white model, black model and searcher of each.
        store: where the records are.

    Returns:
        How many images there are.

    Raises:
        StoreError: the disk refuses.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    count = 0
    for key, white, black, searcher in searches:
        subset = "-".join(slug(name) for name in (white, black, searcher))
        for row in _rows(store, key):
            path = f"{subset}/{slug(Path(row['sample']).stem)}-{key[:8]}-{row['position']}.png"
            if row["outcome"] not in ("found", None):
                (run / FOLDER / path).unlink(missing_ok=True)
            elif row["png"] is not None:
                _write_changed(run / FOLDER / path, row["png"])
                said = {name: row[name] for name in COLUMNS if name in row}
                table.writerow(
                    said
                    | {"path": path, "label": 0, "subset": subset, "split": "test", "seed": row["sample"]}
                    | {"white": white, "black": black, "searcher": searcher, "agreed_class": row["label"]}
                    | {"sha256": hashlib.sha256(row["png"]).hexdigest(), "verified": row["error"] is None}
                )
                count += 1
    write_atomic(run / FOLDER / MANIFEST, text.getvalue().encode())
    return count


def found_table(runs: Path, here: Path, named: str) -> Path:
    """Return the manifest of a run's found images.

    Args:
        runs: folder of all runs.
        here: folder that relative paths start from.
        named: a run's name, or the path of its folder.

    Raises:
        DataError: there is none.
    """
    for folder in (runs / named, here / Path(named).expanduser()):
        path = folder / FOLDER / MANIFEST
        if path.is_file():
            return path
    do = "Name a finished run of a disagreement suite; harness list runs shows them"
    raise DataError(problem(f"data found: {named}", f"a run with {FOLDER}/{MANIFEST}", "none", do))


def _rows(store: CellStore, key: str) -> Iterator[dict[str, Any]]:
    for batch in store.read(key).to_batches(max_chunksize=64):
        yield from batch.to_pylist()


def _write_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)
