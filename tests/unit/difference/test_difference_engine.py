"""The engine of difference tasks on pairs whose changes are drawn here, with a store on disk."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.data.spots import GeneratedPairs, Pair, Pixels
from harness.data.spots.pairs import Split
from harness.difference import as_planes, find
from harness.difference import engine as module
from harness.difference.cells import DifferenceCell, difference_cells
from harness.difference.engine import measure
from harness.errors import EndpointTimeout, ImageError, SuiteError
from harness.events import Silent
from harness.images.degrade import parse_degradation
from harness.metrics.localisation import Truth
from harness.spec.tasks import DifferenceTask
from harness.store.cells import CellStore
from harness.store.differences import DIFFERENCE_SCHEMA

SIDE = 96


class Pairs:
    """A few pairs with one square changed each; one of them can't be read."""

    note = ""
    digest = "0" * 64

    def __init__(self) -> None:
        self.reads: list[str] = []

    def subsets(self, split: Split) -> dict[str, int]:
        return {"square": 3}

    def pairs(self, subset: str, split: Split, limit: int | None = None) -> Iterator[Pair]:
        for number in range(limit or 3):
            yield Pair(f"{split}/{number}", subset, split, f"{split}/{number}", 1)

    def read(self, pair: Pair) -> Pixels:
        self.reads.append(pair.name)
        number = int(pair.name[-1])
        if number == 2:
            raise ImageError("truncated", "cut off")
        a = np.random.default_rng(number).integers(100, 120, (SIDE, SIDE, 3), np.uint8)
        b, truth = a.copy(), np.zeros((SIDE, SIDE), np.int32)
        b[20:40, 30:60] += 100
        truth[20:40, 30:60] = 1
        return Pixels(a, b, truth)


def task(**said: object) -> DifferenceTask:
    given = {"kind": "difference", "pairs": {"table": "pairs.csv"}, "methods": {"postprocess": ["otsu", "percentile"]}}
    return DifferenceTask.model_validate({**given, **said})


def cells_of(asked: DifferenceTask, limit: int | None = None) -> list[DifferenceCell]:
    return list(difference_cells(asked, Pairs(), {}, limit, seed=0))


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path / "differences", DIFFERENCE_SCHEMA)


def test_records_say_what_the_library_says(store: CellStore) -> None:
    cells = cells_of(task(degradations=["none", "jpeg quality=30"]))
    measure(cells, {"difference": Pairs()}, {}, store, 0, Silent())
    (jpeg,) = (cell for cell in cells if cell.split == "test" and cell.degradation.startswith("jpeg"))
    rows = store.read(jpeg.key).to_pylist()
    assert [row["position"] for row in rows] == list(range(6))
    pixels = Pairs().read(Pair("test/1", "square", "test", "test/1", 1))
    degraded = parse_degradation("jpeg quality=30")(pixels.b, 0)
    found = find(as_planes(pixels.a), as_planes(degraded), jpeg.methods[0], {})
    truth = Truth(pixels.truth)
    assert found.mask is not None
    assert rows[2]["iou"] == truth.iou(found.mask)
    assert rows[2]["pixel_ap"] == truth.pixel_ap(found.map) == rows[3]["pixel_ap"]
    assert rows[2]["regions"] == len(found.regions)
    assert rows[3]["postprocess"] == "percentile q=99"
    assert rows[3]["iou"] != rows[2]["iou"]


def test_a_pair_that_can_not_be_read_costs_its_records(store: CellStore) -> None:
    (cell, *_) = cells_of(task(calibration=None))
    measure([cell], {"difference": Pairs()}, {}, store, 0, Silent())
    assert [row["error"] for row in store.read(cell.key).to_pylist()] == [None] * 4 + ["image:truncated"] * 2


def test_a_method_that_can_not_register_marks_nothing(store: CellStore) -> None:
    class Far(Pairs):
        def read(self, pair: Pair) -> Pixels:
            a, _, truth = super().read(pair)
            return Pixels(a, np.roll(a, (40, 0), (0, 1)), truth)

    asked = task(calibration=None, methods={"registration": ["phase"]})
    (cell,) = (cell for cell in cells_of(asked, limit=1) if "phase" in cell.name)
    measure([cell], {"difference": Far()}, {}, store, 0, Silent())
    (row,) = store.read(cell.key).to_pylist()
    assert row["error"] is None
    assert "phase correlation" in row["detail"]
    assert (row["iou"], row["regions"], row["spots"], row["pointing"], row["seconds"]) == (0, 0, 1, 0, None)


@pytest.mark.parametrize("degradation", ["crop size=400", "crop size=40", "downsample size=40"])
def test_an_image_that_lost_its_size_costs_its_records(store: CellStore, degradation: str) -> None:
    asked = task(calibration=None, degradations=["none", degradation])
    clean, other = cells_of(asked, limit=1)
    measure([clean, other], {"difference": Pairs()}, {}, store, 0, Silent())
    assert store.read(clean.key)["error"].to_pylist() == [None, None]
    reason = "image:too_small" if "400" in degradation else "image:sizes"
    assert store.read(other.key)["error"].to_pylist() == [reason] * 2


def test_a_picture_too_small_to_compare_costs_its_records(store: CellStore) -> None:
    class Small(Pairs):
        def read(self, pair: Pair) -> Pixels:
            return Pixels(*(part[:6, :6] for part in super().read(pair)))

    (cell, *_) = cells_of(task(calibration=None), limit=1)
    measure([cell], {"difference": Small()}, {}, store, 0, Silent())
    assert store.read(cell.key)["error"].to_pylist() == ["image:too_small"] * 2


def test_what_is_on_disk_is_not_done_again(store: CellStore) -> None:
    cells, pairs = cells_of(task()), Pairs()
    measure(cells[:1], {"difference": pairs}, {}, store, 0, Silent())
    assert len(pairs.reads) == 3
    measure(cells, {"difference": pairs}, {}, store, 0, Silent())
    assert sorted(pairs.reads) == sorted([f"{split}/{number}" for split in ("test", "val") for number in range(3)])


def test_what_was_done_is_kept_when_the_run_breaks_off(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORKERS", 1)
    pairs = Pairs()
    read = pairs.read

    def stop(pair: Pair) -> Pixels:
        if pair.name.endswith("1"):
            raise KeyboardInterrupt
        return read(pair)

    monkeypatch.setattr(pairs, "read", stop)
    (cell, *_) = cells_of(task(calibration=None))
    with pytest.raises(KeyboardInterrupt):
        measure([cell], {"difference": pairs}, {}, store, 0, Silent())
    assert list(store.answered(cell.key)) == [0, 1]


def test_a_model_that_does_not_answer_is_asked_again(store: CellStore) -> None:
    def silent(image: object, target: int | None) -> tuple[np.ndarray, int]:
        raise EndpointTimeout("no answer")

    asked = task(methods={"strategies": ["gradcam model=a.gradcam"]}, calibration=None)
    cells = list(difference_cells(asked, Pairs(), {"a.gradcam": {"weights": "1"}}, None, 0))
    measure(cells, {"difference": Pairs()}, {"a.gradcam": silent}, store, 0, Silent())
    (cell,) = (cell for cell in cells if "gradcam" in cell.name)
    assert store.read(cell.key)["error"].to_pylist()[0] == "endpoint:timeout"
    assert list(store.answered(cell.key)) == [2]  # the damaged pair, which is final


def test_keys_know_what_figures_depend_on() -> None:
    asked = task(methods={"strategies": ["gradcam model=a.gradcam"]})

    def keys(asked: DifferenceTask, limit: int | None = None, seed: int = 0, weights: str = "1") -> set[str]:
        found = difference_cells(asked, Pairs(), {"a.gradcam": {"weights": weights}}, limit, seed)
        return {cell.key for cell in found if "gradcam" in cell.name}

    known = keys(asked)
    assert known == keys(asked)
    assert known.isdisjoint(keys(asked, limit=2))
    assert known.isdisjoint(keys(asked, seed=1))
    assert known.isdisjoint(keys(asked, weights="2"))


def test_a_drawing_is_shared_by_its_post_processors() -> None:
    cells = cells_of(task(calibration=None, methods={"preprocess": ["identity", "normalize"], "postprocess": ["otsu"]}))
    assert [len(cell.methods) for cell in cells] == [1, 1]
    cells = cells_of(task(calibration=None, methods={"postprocess": ["otsu + cleanup", "percentile"]}))
    assert [len(cell.methods) for cell in cells] == [3]  # the baseline's otsu among them


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"subsets": ["circle"]}, "subsets"),
        ({"methods": {"strategies": ["gradcam model=nobody.gradcam"]}}, "gradcam"),
        ({"methods": {"strategies": ["difference metric=lpips weights=squeeze:/nowhere"]}}, "weights"),
    ],
)
def test_what_can_not_be_asked_is_refused_before_anything_is_drawn(said: dict[str, object], words: str) -> None:
    if words == "weights":
        pytest.importorskip("torch", reason="the extra `export` is not installed")
    with pytest.raises(SuiteError, match=words):
        cells_of(task(**said))


def test_generated_pairs_without_a_split_are_refused() -> None:
    class Tested(Pairs):
        def subsets(self, split: Split) -> dict[str, int]:
            return {"square": 3} if split == "test" else {}

    with pytest.raises(SuiteError, match="split val"):
        list(difference_cells(task(), Tested(), {}, None, 0))


def test_the_seed_of_a_degradation_is_the_pairs_own(store: CellStore) -> None:
    cells = [cell for cell in cells_of(task(degradations=["none", "noise sigma=9"])) if cell.split == "test"]
    pairs = {"difference": GeneratedPairs(2, SIDE)}
    made = [replace(cell, subset="mixed", pairs=2) for cell in cells]
    measure(made, pairs, {}, store, 0, Silent())
    first = store.read(made[-1].key)["pixel_ap"].to_pylist()
    again = CellStore(store.root / "again", DIFFERENCE_SCHEMA)
    measure(made[-1:], pairs, {}, again, 0, Silent())
    assert again.read(made[-1].key)["pixel_ap"].to_pylist() == first
