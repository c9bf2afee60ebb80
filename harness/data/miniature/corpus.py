"""Builds the miniature corpora: crops of photographs, and the same crops passed through small generators."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image as PILImage

from harness.data.layouts import Found
from harness.data.miniature.contents import CORPUS, GENERATORS, Content, Split
from harness.data.miniature.photographs import FLAT, SIDE, Crop, tier
from harness.data.sample import FAKE, NATURE, REAL
from harness.images.preprocess import Image
from harness.store.files import writing

BATCH = 16

Progress = Callable[[int, int], None]


@cache
def version_key(content: Content = CORPUS) -> str:
    """Return a digest of all that a corpus is made of: photographs' table, generators, crop rules."""
    digest = hashlib.sha256(repr((content.photographs, content.side, FLAT, content.generators)).encode())
    for name in content.generators:
        digest.update(graph(name))
    return digest.hexdigest()


def graph(name: str) -> bytes:
    """Return a generator's ONNX file."""
    return (resources.files("harness.data.miniature") / "generators" / f"{name}.onnx").read_bytes()


def build(
    folder: Path,
    splits: Sequence[Split] = ("val", "test"),
    progress: Progress = lambda done, total: None,
    content: Content = CORPUS,
) -> Path:
    """Build the splits that are not there yet below ``folder``.

    Args:
        folder: parent of the corpus.
        splits: which; training alone needs ``train``, by far the largest.
        progress: receives images done and images in all.
        content: of the corpus; splits that none of its photographs is in stay unbuilt.

    Returns:
        The corpus: ``<split>/<subset>/<crop>.png``, all RGB squares of one side.
    """
    root = folder / f"miniature-{version_key(content)[:12]}"
    missing = [split for split in splits if split in content.splits and not (root / split).is_dir()]
    cuts = {split: list(tier(split, content.photographs, content.side)) for split in missing}
    total, done = (1 + len(content.generators)) * sum(map(len, cuts.values())), 0
    for split, items in cuts.items():
        with writing(root / split, folder=True) as part, ThreadPoolExecutor(2) as pool:
            for subset, images in subsets(items, content.generators):
                target = part / subset
                target.mkdir()
                list(pool.map(_write, (target / f"{item.name}.png" for item in items), images))
                done += len(items)
                progress(done, total)
    return root


def subsets(items: Sequence[Crop], generators: Sequence[str]) -> Iterator[tuple[str, list[Image]]]:
    """Yield the crops themselves as ``nature``, then what each generator makes of them."""
    yield NATURE, [item.pixels for item in items]
    for name in generators:
        yield name, remake(name, items)


def remake(name: str, items: Sequence[Crop], options: onnxruntime.SessionOptions | None = None) -> list[Image]:
    """Pass crops through a generator; the same to the bit on every machine.

    Args:
        name: of the generator.
        items: the crops.
        options: of the session.

    Returns:
        uint8 (side, side, 3) each.
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
            inputs["noise"] = np.stack([noise(item.name, len(item.pixels)) for item in chosen])
        made += list(session.run(["made"], inputs)[0])
    return made


def noise(name: str, side: int = SIDE) -> NDArray[np.int8]:
    """Return a crop's own noise: nearly normal, standard deviation 12, int8 (side, side, 3).

    A sum of twelve uniform bytes, by integers alone, so that it does not depend on a mathematical library.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, size=(12, side, side, 3), dtype=np.int32)
    levels: NDArray[np.int32] = (drawn.sum(axis=0) - 1530) * 12 // 256
    return levels.clip(-128, 127).astype(np.int8)


def find(
    root: Path, splits: Sequence[Split] = ("val", "test"), generators: Sequence[str] = GENERATORS
) -> Iterator[Found]:
    """Yield the files of some splits; a crop and all that was made of it share a source."""
    for split in splits:
        for subset in (*generators, NATURE):
            for path in sorted((root / split / subset).glob("*.png")):
                label = REAL if subset == NATURE else FAKE
                yield Found(path.relative_to(root).as_posix(), label, subset, split, path.stem)


def _write(path: Path, image: Image) -> None:
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "png", compress_level=1)
    path.write_bytes(buffer.getvalue())
