"""Pairs with known changes: generated ones keep to their truth, and tables are read as they say."""

import hashlib
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from harness.data.miniature.photographs import OTHER, PHOTOGRAPHS
from harness.data.spots import GeneratedPairs, Pair, Pixels, TablePairs
from harness.data.spots.changes import GAP, KINDS, MOST, VISIBLE, changed, plan, spots
from harness.data.spots.generated import POOLS, SUBSETS
from harness.data.spots.pairs import Split
from harness.data.spots.shapes import outline, recoloured
from harness.errors import DataError, ImageError

PINNED = "30e0f2115c0be202707313ee3de864b27a74f435ce1c11e924bb4f8175af9d87"
"""SHA-256 over (name, spots, a, b, truth) of two pairs of each subset and split."""

PUZZLES = Path(__file__).parents[3] / "suites" / "puzzles" / "pairs.csv"

SPLITS: tuple[Split, ...] = get_args(Split)


@pytest.fixture(scope="module")
def made() -> dict[Pair, Pixels]:
    data = GeneratedPairs(6)
    return {pair: data.read(pair) for split in SPLITS for name in SUBSETS for pair in data.pairs(name, split)}


def test_the_pixels_are_pinned(made: dict[Pair, Pixels]) -> None:
    running = hashlib.sha256()
    for pair, (a, b, truth) in made.items():
        if pair.name.endswith(("0", "1")):
            running.update(f"{pair.name}|{pair.spots}|{pair.source}".encode())
            running.update(a.tobytes() + b.tobytes() + truth.astype("<i4").tobytes())
    assert running.hexdigest() == PINNED


def test_pictures_differ_on_the_spots_alone(made: dict[Pair, Pixels]) -> None:
    for pair, (a, b, truth) in made.items():
        assert a.shape == b.shape == (192, 192, 3) and a.dtype == b.dtype == np.uint8
        assert truth.shape == (192, 192) and truth.dtype == np.int32
        difference = np.abs(a.astype(int) - b)
        assert not difference[truth == 0].any(), pair
        assert set(np.unique(truth)) == set(range((pair.spots or 0) + 1)), pair
        for spot in range(1, truth.max() + 1):
            assert difference[truth == spot].mean() >= VISIBLE, pair
            assert difference[truth == spot].any(axis=1).mean() >= MOST, pair


def test_spots_are_whole_and_apart(made: dict[Pair, Pixels]) -> None:
    for pair, (_, _, truth) in made.items():
        pieces = [(truth == spot).astype(np.uint8) for spot in range(1, truth.max() + 1)]
        near = [cv2.dilate(piece, np.ones((2 * GAP + 1,) * 2, np.uint8)) for piece in pieces]
        assert all(cv2.connectedComponents(piece, connectivity=8)[0] == 2 for piece in pieces), pair
        assert np.all(sum(map(np.asarray, near), start=np.zeros_like(truth))[truth > 0] == 1), pair
        assert not truth[:GAP].any() and not truth[:, :GAP].any() and not truth[-GAP:].any(), pair
        assert all(192 * 192 // 1000 <= piece.sum() <= 192 * 192 // 25 for piece in pieces), pair


def test_every_subset_changes_what_its_name_says(made: dict[Pair, Pixels]) -> None:
    clean = {(pair.split, pair.name[-5:]): pixels.a for pair, pixels in made.items() if pair.subset == "same"}
    kept, counts = defaultdict(set), defaultdict(set)
    for pair, (a, b, _) in made.items():
        before = clean[pair.split, pair.name[-5:]]
        kept[pair.subset].add((np.array_equal(a, before), np.array_equal(b, before)))
        counts[pair.subset].add(pair.spots)
    assert kept.pop("mixed") >= {(False, False)}
    assert kept == {
        "inserted": {(True, False)},
        "recoloured": {(True, False)},
        "removed": {(False, True)},
        "moved": {(False, False)},
        "same": {(True, True)},
    }
    assert counts["same"] == {0} and counts["moved"] == {2, 4}
    for subset in ("inserted", "removed", "recoloured", "mixed"):
        assert len(counts[subset]) > 1 and counts[subset] <= {1, 2, 3, 4, 5}


def test_recoloured_objects_keep_their_texture() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(50, 130, (64, 64, 1), np.uint8), 3, axis=2)
    for other in (recoloured(rng, grey) for _ in range(10)):
        assert all(np.corrcoef(grey[:, :, 0].ravel(), other[:, :, k].ravel())[0, 1] > 0.98 for k in range(3))


def test_what_moves_looks_alike_in_both_places() -> None:
    flat, donor = np.full((96, 96, 3), 90, np.uint8), np.full((96, 96, 3), 200, np.uint8)
    for seed in range(5):
        a, b, truth = changed(np.random.default_rng(seed), flat, donor, ("moved",))
        boxes = [np.argwhere(truth == spot) for spot in (1, 2)]
        here, there = (box.min(axis=0) for box in boxes)
        assert np.array_equal(boxes[0] - here, boxes[1] - there)
        assert np.array_equal(a[tuple(boxes[0].T)], b[tuple(boxes[1].T)])


def test_mixed_pairs_have_several_kinds() -> None:
    plans = [plan(np.random.default_rng(seed), "mixed") for seed in range(50)]
    assert {len(kinds) for kinds in plans} == {2, 3, 4}
    assert all(len(set(kinds)) == len(kinds) and spots(kinds) <= 5 for kinds in plans)
    assert set().union(*plans) == set(KINDS)


def test_splits_share_no_photograph(made: dict[Pair, Pixels]) -> None:
    used = {split: {pair.source.partition("-")[0] for pair in made if pair.split == split} for split in SPLITS}
    assert not used["val"] & used["test"]
    tiers = {item.name: item.tier for item in (*PHOTOGRAPHS, *OTHER)}
    assert {tiers[name] for name in used["val"]} == {"train", "val"}
    assert {tiers[name] for name in used["test"]} == {"test"}
    assert not {item.name for item in POOLS["val"]} & {item.name for item in POOLS["test"]}


def test_pairs_do_not_depend_on_how_many_there_are(made: dict[Pair, Pixels]) -> None:
    few = GeneratedPairs(2)
    assert list(few.pairs("mixed", "val")) == [pair for pair in made if pair.name.startswith("val/mixed")][:2]
    assert list(few.pairs("mixed", "val", 1)) == list(few.pairs("mixed", "val"))[:1]
    assert few.subsets("test") == dict.fromkeys(sorted(SUBSETS), 2)
    (pair,) = few.pairs("mixed", "test", 1)
    again, before = few.read(pair), made[pair]
    assert np.array_equal(again.a, before.a) and np.array_equal(again.b, before.b)
    assert np.array_equal(again.truth, before.truth)


def test_the_digest_tells_sets_apart() -> None:
    sets = [GeneratedPairs(2), GeneratedPairs(3), GeneratedPairs(2, seed=1), GeneratedPairs(2)]
    digests = [data.digest for data in sets]
    assert len(set(digests)) == 3 and digests[0] == digests[3]
    first, other = (data.read(next(data.pairs("removed", "val"))) for data in (sets[0], sets[2]))
    assert not np.array_equal(first.truth, other.truth)


@pytest.mark.parametrize(
    ("count", "side", "complaint"),
    [(0, 192, "count: expected 1 or more, got 0"), (1, 95, "at least 96 pixels, got 95 pixels")],
)
def test_senseless_sets_are_refused(count: int, side: int, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        GeneratedPairs(count, side)


def test_sides_that_no_two_photographs_have_are_refused() -> None:
    with pytest.raises(DataError, match="two photographs as large, got 1 of val for 1000 pixels"):
        assert GeneratedPairs(1, side=1000).digest


def test_a_picture_without_room_is_one_record() -> None:
    tiny = np.zeros((24, 24, 3), np.uint8)
    with pytest.raises(ImageError, match="5 spots, got no room in 24 x 24") as caught:
        changed(np.random.default_rng(0), tiny, tiny + 99, ("inserted",) * 5)
    assert caught.value.reason == "no_room"


@pytest.mark.parametrize(("side", "area"), list(product((96, 200), (100, 400))))
def test_outlines_are_soft_and_about_as_large_as_asked(side: int, area: int) -> None:
    drawn = [outline(np.random.default_rng(seed), side, area) for seed in range(20)]
    assert all(set(np.unique(weights)) <= {0, 3, 6, 9} and weights.dtype == np.int32 for weights in drawn)
    sizes = [np.count_nonzero(weights) for weights in drawn]
    assert max(sizes) <= area
    assert np.median(sizes) > 0.6 * area


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a/1.png", "b/1.png", "a/2.png", "b/2.png"):
        picture(tmp_path / name, rng.integers(0, 256, (20, 30, 3), np.uint8))
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 2:5], mask[5, 5], mask[10:12, 20:29], mask[15, 1] = 255, 128, 200, 127
    picture(tmp_path / "mask.png", mask)
    return tmp_path


def table(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_table_says_all_of_its_pairs(folder: Path) -> None:
    data = TablePairs(
        table(
            folder,
            "name,subset,split,source,a,b,mask,boxes",
            "one,drawn,val,scene,a/1.png,b/1.png,,0:0:4:5; 10:20:20:30",
            ",,,,a/2.png,b/2.png,mask.png,",
            "none,,,,a/2.png,a/2.png,,",
        )
    )
    assert (data.subsets("val"), data.subsets("test")) == ({"drawn": 1}, {"pairs": 2})
    (one,) = data.pairs("drawn", "val")
    two, none = data.pairs("pairs", "test")
    assert one == Pair("one", "drawn", "val", "scene", 2)
    assert (two, none.spots) == (Pair("a/2.png", "pairs", "test", "a/2.png", None), 0)
    assert list(data.pairs("pairs", "test", 1)) == [two]
    a, b, truth = data.read(one)
    assert np.array_equal(a, np.asarray(PILImage.open(folder / "a/1.png")))
    assert np.array_equal(b, np.asarray(PILImage.open(folder / "b/1.png")))
    assert [np.count_nonzero(truth == spot) for spot in range(4)] == [480, 20, 100, 0]
    assert truth.dtype == np.int32 and (truth[0, 0], truth[3, 4], truth[4, 4], truth[10, 20]) == (1, 1, 0, 2)
    marked = data.read(two).truth
    assert [np.count_nonzero(marked == spot) for spot in range(4)] == [572, 10, 18, 0]
    assert not data.read(none).truth.any()


def test_small_boxes_lie_above_large_ones(folder: Path) -> None:
    data = TablePairs(table(folder, "a,b,boxes", "a/1.png,b/1.png,2:2:4:4;0:0:20:30"))
    truth = data.read(next(data.pairs("pairs", "test"))).truth
    assert [np.count_nonzero(truth == spot) for spot in (0, 1, 2)] == [0, 4, 596]


def test_paths_start_from_a_root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = table(tmp_path_factory.mktemp("elsewhere"), "a,b,boxes", "1.png,2.png,0:0:1:1")
    data = TablePairs(path, folder / "a")
    assert data.read(next(data.pairs("pairs", "test"))).truth.sum() == 1
    before = data.digest
    assert before == TablePairs(path, folder / "a").digest
    picture(folder / "a/2.png", np.zeros((20, 30, 3), np.uint8))
    after = TablePairs(path, folder / "a")
    assert after.digest != before
    (folder / "a/2.png").unlink()
    assert TablePairs(path, folder / "a").digest not in (before, after.digest)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (("a,boxes", "x,"), "columns: expected columns a, b, and mask or boxes"),
        (("a,b", "x,y"), "columns a, b, and mask or boxes, and none but .* got a, b"),
        (("a,b,boxes,colour", "x,y,,z"), "got a, b, boxes, colour"),
        (("a,b,boxes",), "expected pairs, got no row"),
        (("a,b,boxes", ",y,"), ":2: a: expected a path, got none"),
        (("a,b,boxes", "x,../y,"), r":2: b: expected a path inside its folder, got \.\./y"),
        (("a,b,mask", "x,y,/z"), ":2: mask: expected a path inside its folder, got /z"),
        (("a,b,boxes", "x,y,1:2:3"), "boxes: expected top:left:bottom:right in pixels, got '1:2:3'"),
        (("a,b,boxes", "x,y,1:2:1:3"), "got '1:2:1:3'"),
        (("a,b,boxes", "x,y,-1:2:1:3"), "got '-1:2:1:3'"),
        (("a,b,boxes", "x,y,1:2:3:4;"), "got ''"),
        (("a,b,mask,boxes", "x,y,m,1:2:3:4"), "expected a mask or boxes, got both"),
        (("a,b,boxes,split", "x,y,,train"), "split: expected val or test, got 'train'"),
        (("a,b,boxes", "x,y,", "x,z,"), ":3: name: expected one pair of a name, got 'x' in line 2 too"),
        (("a,b,boxes", "x,y,1,2"), ":2: expected as many cells as columns"),
    ],
)
def test_bad_tables_are_refused(folder: Path, lines: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        TablePairs(table(folder, *lines))


def test_no_table_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: expected a CSV table in UTF-8, got .*No such file"):
        TablePairs(tmp_path / "none.csv")


def test_bad_files_cost_one_record_each(folder: Path) -> None:
    picture(folder / "small.png", np.zeros((20, 29, 3), np.uint8))
    picture(folder / "clear.png", np.zeros((20, 30, 4), np.uint8))
    (folder / "text.png").write_text("no picture")
    (folder / "out.png").symlink_to(PUZZLES)
    data = TablePairs(
        table(
            folder,
            "name,a,b,mask,boxes",
            "sizes,a/1.png,small.png,,",
            "sizes of the mask,a/1.png,b/1.png,small.png,",
            "mask,a/1.png,b/1.png,clear.png,",
            "boxes,a/1.png,b/1.png,,0:0:21:1",
            "missing,a/1.png,b/9.png,,",
            "missing link,out.png,b/1.png,,",
            "not_an_image,a/1.png,text.png,,",
        )
    )
    for pair in data.pairs("pairs", "test"):
        with pytest.raises(ImageError) as caught:
            data.read(pair)
        assert caught.value.reason == pair.name.split()[0]


def test_the_puzzles_fit_their_pictures(discern_data: Path) -> None:
    data = TablePairs(PUZZLES, discern_data)
    assert data.subsets("test") == {"puzzle": 2}
    for pair in data.pairs("puzzle", "test"):
        a, b, truth = data.read(pair)
        assert set(np.unique(truth)) == set(range((pair.spots or 0) + 1))
        difference = np.abs(a.astype(int) - b).max(axis=2)
        for spot in range(1, truth.max() + 1):
            assert np.percentile(difference[truth == spot], 95) > 40, (pair.name, spot)
