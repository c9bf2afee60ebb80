"""The miniature of other content: pinned, apart from the corpus, and what a suite gets for `root: other`."""

import hashlib
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.data import miniature, open_dataset
from harness.data.miniature.photographs import FLAT, OTHER, PHOTOGRAPHS, SIDE, Photograph, tier
from harness.data.sample import Dataset
from harness.events import Silent
from harness.spec.suite import MINIATURES, DataSpec

PINNED = "7a9e4f34069f50bf620ca83b12623b4339bc0bc8c62b296e7030411a2e7883e4"
"""SHA-256 over (path, pixels) of every image."""


@pytest.fixture(scope="module")
def root(out: Path) -> Path:
    return miniature.build(out / "manifests", content=miniature.CONTENTS["other"])


@pytest.fixture(scope="module")
def data(root: Path) -> Dataset:
    return open_dataset("content", DataSpec(layout="miniature", root="other"), Path(), root.parent, Silent())


def test_the_pixels_are_pinned(root: Path) -> None:
    running = hashlib.sha256()
    for path in sorted(root.rglob("*.png")):
        with PILImage.open(path) as picture:
            pixels = np.asarray(picture)
            assert (picture.format, picture.mode, pixels.shape) == ("PNG", "RGB", (SIDE, SIDE, 3))
        running.update(path.relative_to(root).as_posix().encode())
        running.update(pixels.tobytes())
    assert running.hexdigest() == PINNED


def test_the_corpus_is_the_one_it_was() -> None:
    assert miniature.version_key().startswith("867664d5860c"), "every manifest and every training says this key"
    assert miniature.version_key(miniature.CONTENTS["other"]) != miniature.version_key()


def test_it_shares_no_picture_with_the_corpus() -> None:
    def files(photographs: tuple[Photograph, ...]) -> set[bytes]:
        return {(resources.files(item.package) / item.file).read_bytes() for item in photographs}

    assert len(files(OTHER)) == len(OTHER)
    assert not files(PHOTOGRAPHS) & files(OTHER)
    assert not {item.name for item in PHOTOGRAPHS} & {item.name for item in OTHER}


def test_every_picture_is_only_tested_and_has_a_licence_and_a_credit() -> None:
    for item in OTHER:
        assert item.tier == "test"
        assert item.licence in ("CC0", "public domain")
        assert item.credit


def test_each_picture_gives_crops_that_show_something() -> None:
    crops = list(tier("test", OTHER))
    counted = Counter(crop.name.split("-")[0] for crop in crops)
    assert set(counted) == {item.name for item in OTHER}
    assert all(10 <= count <= 25 for count in counted.values())
    assert len({crop.pixels.tobytes() for crop in crops}) == len(crops)
    assert all(float(crop.pixels.mean(axis=2).std()) >= FLAT for crop in crops)


def test_splits_without_pictures_stay_unbuilt(root: Path) -> None:
    assert [folder.name for folder in root.iterdir() if not folder.name.startswith(".")] == ["test"]


def test_a_suite_gets_the_same_generators_and_other_words(root: Path, data: Dataset) -> None:
    infos = {(info.split, info.subset): info.count for info in data.subsets()}
    assert infos == dict.fromkeys((("test", name) for name in ("nature", *miniature.GENERATORS)), 72)
    assert data.note == miniature.CONTENTS["other"].note != miniature.NOTE


def test_every_root_that_a_suite_may_give_has_a_content() -> None:
    assert set(MINIATURES) == set(miniature.CONTENTS)
