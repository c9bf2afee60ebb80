import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.card import Card
from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.events import Silent
from harness.report.thumbnails import flip_tiles
from harness.spec.suite import DataSpec
from harness.spec.tasks import ClassificationTask
from harness.tasks.classification import Classification, Flip, PairFigures

COLOURS = {"a.png": 10, "b.png": 60, "c.png": 110, "d.png": 160}
CARDS = {
    "net.tv_float": Card(name="net.tv_float", classes=("cat", "dog", "cow")),
    "other.tv_float": Card(name="other.tv_float", classes=("oak", "elm", "ash", "fir")),
}


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    for name, colour in COLOURS.items():
        PILImage.fromarray(np.full((9, 9, 3), colour, np.uint8)).save(tmp_path / name)
    rows = "".join(f"{name},0,x\n" for name in COLOURS)
    (tmp_path / "m.csv").write_text(f"path,label,subset\n{rows}")
    return open_dataset("d", DataSpec(layout="manifest", root="m.csv"), tmp_path, tmp_path / "cache", Silent())


def pair(candidate: str, *flips: Flip, condition: str = "none") -> PairFigures:
    reference = candidate.partition("@")[0] if "@" in candidate else candidate.partition(".")[0] + ".tv_float"
    return PairFigures(reference, candidate, condition, 4, {}, 1.0, 0.0, flips)


def tiles(data: Dataset, *pairs: PairFigures, most: int = 9) -> list[tuple[int, str, str]]:
    """Colour, caption and detail of each tile."""
    task = ClassificationTask(kind="classification", data="d")
    found = flip_tiles(Classification(task, ["none"], [], pairs, 4, {}), CARDS, data, most)
    return [
        (PILImage.open(io.BytesIO(tile.image_png)).getpixel((0, 0))[0], tile.caption, tile.detail)  # type: ignore[index]
        for tile in found
    ]


def test_negative_flips_come_first_and_pairs_take_turns(data: Dataset) -> None:
    one = pair("net.int8", Flip("d.png", 1, 1, 2, 0.5), Flip("c.png", 0, 0, 1, 0.4), Flip("a.png", 2, 0, 2, 9.0))
    other = pair("net.int4", Flip("b.png", 2, 2, 0, 0.1), Flip("d.png", 1, 1, 0, 0.1))
    third = pair("net.int2", Flip("a.png", 1, 2, 1, 0.1))
    assert tiles(data, third, one, other) == [
        (160, "dog", "net.tv_float: dog; net.int8: cow"),
        (60, "cow", "net.tv_float: cow; net.int4: cat"),
        (110, "cat", "net.tv_float: cat; net.int8: dog"),
        (10, "dog", "net.tv_float: cow; net.int2: dog"),
    ]
    assert [colour for colour, *_ in tiles(data, third, one, other, most=2)] == [160, 60]
    assert tiles(data, one, other, most=0) == []


def test_each_pair_has_its_own_classes(data: Dataset) -> None:
    found = tiles(data, pair("net.int8", Flip("a.png", 0, 0, 1, 1)), pair("other.int8", Flip("b.png", 3, 3, 1, 1)))
    assert [caption for _, caption, _ in found] == ["cat", "fir"]
    assert found[1][2] == "other.tv_float: fir; other.int8: elm"


def test_an_image_without_target_is_called_by_its_name(data: Dataset) -> None:
    assert tiles(data, pair("net.int8", Flip("a.png", -1, 0, 1, 1)))[0][1] == "a.png"


def test_variants_degraded_images_and_lost_files_are_left_out(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "c.png").unlink()
    found = tiles(
        data,
        pair("net.tv_float@batch1", Flip("a.png", 0, 0, 1, 1)),
        pair("net.int8", Flip("b.png", 0, 0, 1, 1), condition="jpeg quality=65"),
        pair("net.int8", Flip("c.png", 0, 0, 1, 1), Flip("d.png", 0, 0, 1, 1)),
    )
    assert [colour for colour, *_ in found] == [160]
