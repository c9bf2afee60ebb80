"""The miniature corpus is the same on every machine: its pixels are pinned."""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.data import miniature
from harness.data.miniature import corpus as building
from harness.data.miniature.designs import DESIGNS
from harness.data.miniature.photographs import PHOTOGRAPHS, SIDE, Crop, crops, load, tier

PINNED = "2cfbc98ab5a8c8af37197bcf6ce98db49b45e6a6bd1906f8e7e39989206506f3"
"""SHA-256 over (split, subset, crop, pixels) of the val and test splits."""


@pytest.fixture(scope="session")
def corpus(out: Path) -> Path:
    return miniature.build(out / "manifests")


def digest(root: Path) -> str:
    running = hashlib.sha256()
    for item in sorted(miniature.find(root), key=lambda found: found.path):
        with PILImage.open(root / item.path) as picture:
            pixels = np.asarray(picture)
            assert (picture.format, picture.mode, pixels.shape) == ("PNG", "RGB", (SIDE, SIDE, 3))
        running.update(f"{item.path}|{item.label}|{item.subset}|{item.split}|{item.source}".encode())
        running.update(pixels.tobytes())
    return running.hexdigest()


def test_the_pixels_are_pinned(corpus: Path) -> None:
    assert digest(corpus) == PINNED


def test_no_photograph_is_in_two_tiers() -> None:
    assert len({item.name for item in PHOTOGRAPHS}) == len(PHOTOGRAPHS)
    assert {item.tier for item in PHOTOGRAPHS} == {"generator", "train", "val", "test"}


def test_every_photograph_ships_with_a_licence_and_a_credit() -> None:
    for item in PHOTOGRAPHS:
        assert item.licence in ("CC0", "public domain", "CC-BY-2.0")
        assert item.credit
        assert load(item).shape[2] == 3


def test_tested_crops_do_not_overlap() -> None:
    for item in PHOTOGRAPHS:
        if item.tier == "test":
            assert item.stride >= SIDE
            assert list(crops(item))


def test_real_and_fake_share_their_sources(corpus: Path) -> None:
    sources: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in miniature.find(corpus):
        sources[item.split, item.subset].add(item.source)
    for split in ("val", "test"):
        kinds = {subset: found for (where, subset), found in sources.items() if where == split}
        assert set(kinds) == {"nature", *miniature.GENERATORS}
        assert len({frozenset(found) for found in kinds.values()}) == 1
    trained_on = {item.name for item in PHOTOGRAPHS if item.tier == "generator"}
    assert not {source.split("-")[0] for found in sources.values() for source in found} & trained_on


def test_building_again_changes_nothing(corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*.png")}
    assert miniature.build(corpus.parent) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*.png")} == before


def test_a_build_that_was_cut_off_leaves_no_half_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(items: list[Crop], generators: tuple[str, ...]) -> object:
        yield "nature", [item.pixels for item in items]
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "subsets", cut_off)
    with pytest.raises(KeyboardInterrupt):
        miniature.build(tmp_path, ("test",))
    assert not list(tmp_path.rglob("*.png"))


def test_noise_is_the_crops_own() -> None:
    one, two = building.noise("a"), building.noise("b")
    assert one.dtype == np.int8
    np.testing.assert_array_equal(one, building.noise("a"))
    assert abs(float(one.mean())) < 1
    assert 10 < float(one.std()) < 14
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("name", DESIGNS)
def test_a_generator_gives_the_same_bits_however_it_is_run(name: str) -> None:
    import onnxruntime as ort

    items = list(tier("val"))[:3]
    usual = building.remake(name, items)
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        for threads in (1, 2):
            options = ort.SessionOptions()
            options.graph_optimization_level, options.intra_op_num_threads = level, threads
            for one, other in zip(usual, building.remake(name, items, options), strict=True):
                np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(building.remake(name, items[1:2])[0], usual[1])
    assert usual[0].shape == (SIDE, SIDE, 3)
    assert len(building.graph(name)) < (1_000_000 if name in miniature.GENERATORS else 350_000)
    assert (usual[0] != items[0].pixels).any()
