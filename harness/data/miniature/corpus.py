"""The miniature corpora: crops of photographs, and the same crops passed through eight small generators."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image as PILImage

from harness.data.layouts import Found
from harness.data.miniature.photographs import FLAT, OTHER, PHOTOGRAPHS, SIDE, Crop, Photograph, tier
from harness.data.sample import FAKE, NATURE, REAL
from harness.images.preprocess import Image

GENERATORS = ("deconv", "nearest", "bilinear", "shuffle", "vq", "gan", "diffusion", "flow")
"""The generators, in the order of reports."""

Split = Literal["train", "val", "test"]

BATCH = 16

NOTE = (
    "These are figures of the miniature corpus, not of GenImage: 128 px crops of "
    f"{sum(item.tier == 'test' for item in PHOTOGRAPHS)} test photographs, and the same crops passed through eight "
    "small generators. Real and fake share content, codec and size. Crops of one photograph resemble each other, so "
    "the intervals, which resample crops, say nothing of other photographs."
)

OTHER_NOTE = (
    "Other content is the miniature's own: 128 px crops of four grey pictures that no detector was trained on and that "
    "resemble none of the corpus (a cell under a holographic microscope, handwriting, a clock blurred by motion, a "
    "silhouette), and the same crops passed through the same eight generators. What generators make of grey pictures "
    "takes more bytes as PNG, which the audit marks; detectors see no file sizes. Crops of one picture overlap, so the "
    "intervals, which resample crops, are too narrow and say nothing of other pictures."
)


@dataclass(frozen=True)
class Content:
    """What a miniature corpus shows.

    Attributes:
        photographs: the pictures behind it.
        note: what a report must say of it.
    """

    photographs: tuple[Photograph, ...]
    note: str


CONTENTS: Mapping[str, Content] = {"": Content(PHOTOGRAPHS, NOTE), "other": Content(OTHER, OTHER_NOTE)}
"""The corpora by the root that a suite gives; the corpus itself needs none."""

Progress = Callable[[int, int], None]


@cache
def version_key(photographs: tuple[Photograph, ...] = PHOTOGRAPHS) -> str:
    """Return a digest of all that a corpus is made of: photographs' table, generators, crop rules."""
    digest = hashlib.sha256(repr((photographs, SIDE, FLAT, GENERATORS)).encode())
    for name in GENERATORS:
        digest.update(graph(name))
    return digest.hexdigest()


def graph(name: str) -> bytes:
    """Return a generator's ONNX file."""
    return (resources.files("harness.data.miniature") / "generators" / f"{name}.onnx").read_bytes()


def build(
    folder: Path,
    splits: Sequence[Split] = ("val", "test"),
    progress: Progress = lambda done, total: None,
    photographs: tuple[Photograph, ...] = PHOTOGRAPHS,
) -> Path:
    """Build the splits that are not there yet below ``folder``.

    Args:
        folder: parent of the corpus.
        splits: which; training alone needs ``train``, by far the largest.
        progress: receives images done and images in all.
        photographs: of the corpus; splits that none of them is in stay unbuilt.

    Returns:
        The corpus: ``<split>/<subset>/<crop>.png``, all 128 x 128 RGB.
    """
    root = folder / f"miniature-{version_key(photographs)[:12]}"
    there = {photograph.tier for photograph in photographs}
    missing = [split for split in splits if split in there and not (root / split).is_dir()]
    cuts = {split: list(tier(split, photographs)) for split in missing}
    total, done = (1 + len(GENERATORS)) * sum(map(len, cuts.values())), 0
    for split, items in cuts.items():
        temporary = root / f".{split}.{os.getpid()}"
        try:
            with ThreadPoolExecutor(2) as pool:
                for subset, images in subsets(items):
                    target = temporary / subset
                    target.mkdir(parents=True)
                    list(pool.map(_write, (target / f"{item.name}.png" for item in items), images))
                    done += len(items)
                    progress(done, total)
            _put(temporary, root / split)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return root


def subsets(items: Sequence[Crop]) -> Iterator[tuple[str, list[Image]]]:
    """Yield the crops themselves as ``nature``, then what each generator makes of them."""
    yield NATURE, [item.pixels for item in items]
    for name in GENERATORS:
        yield name, remake(name, items)


def remake(name: str, items: Sequence[Crop], options: onnxruntime.SessionOptions | None = None) -> list[Image]:
    """Pass crops through a generator; the same to the bit on every machine.

    Args:
        name: of the generator.
        items: the crops.
        options: of the session.

    Returns:
        uint8 (128, 128, 3) each.
    """
    if options is None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph(name), options, providers=["CPUExecutionProvider"])
    takes_noise = any(item.name == "noise" for item in session.get_inputs())
    made: list[Image] = []
    for start in range(0, len(items), BATCH):
        chosen = items[start : start + BATCH]
        inputs = {"image": np.stack([item.pixels for item in chosen])}
        if takes_noise:
            inputs["noise"] = np.stack([noise(item.name) for item in chosen])
        made += list(session.run(["made"], inputs)[0])
    return made


def noise(name: str) -> NDArray[np.int8]:
    """Return a crop's own noise: nearly normal, standard deviation 12, int8 (128, 128, 3).

    A sum of twelve uniform bytes, by integers alone, so that it does not depend on a mathematical library.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, size=(12, SIDE, SIDE, 3), dtype=np.int32)
    levels: NDArray[np.int32] = (drawn.sum(axis=0) - 1530) * 12 // 256
    return levels.clip(-128, 127).astype(np.int8)


def find(root: Path, splits: Sequence[Split] = ("val", "test")) -> Iterator[Found]:
    """Yield the files of some splits; a crop and all that was made of it share a source."""
    for split in splits:
        for subset in (*GENERATORS, NATURE):
            for path in sorted((root / split / subset).glob("*.png")):
                label = REAL if subset == NATURE else FAKE
                yield Found(path.relative_to(root).as_posix(), label, subset, split, path.stem)


def _put(made: Path, place: Path) -> None:
    """Move a whole split to its place; another process may have been faster."""
    try:
        made.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _write(path: Path, image: Image) -> None:
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "png", compress_level=1)
    path.write_bytes(buffer.getvalue())
