"""Found images as files, and as the data of another suite."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.data import open_dataset
from harness.data.sample import FAKE
from harness.engines import answer, prepare
from harness.errors import DataError
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.models import expand, open_models
from harness.plan import make_plan
from harness.spec.suite import DataSpec, Suite
from harness.store.cells import CellStore
from harness.store.found import COLUMNS, found_table, write_found
from harness.store.searches import SEARCH_SCHEMA, SearchRecord

KEY, OTHER_KEY = "a1" * 32, "b2" * 32
WHITE, BLACK = "net.tv_float", "net.int8@served"
SIDE = 9


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    PILImage.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def record(position: int, outcome: str | None = "found", sample: str | None = None, **more: object) -> SearchRecord:
    row = SearchRecord(position, sample or f"val/{position}.jpeg", f"source {position}", 7, outcome=outcome)
    if outcome in ("found", "lost_on_rounding", "lost_on_reserving"):
        content = png(position)
        said = {"label": 2, "white_class": 2, "black_class": 3, "white_margin": 0.25, "black_margin": 0.5, "l2": 1.5}
        measured = {"linf": 3.0, "psnr": 61.25, "ssim": 0.75, "png": content}
        row = replace(row, **said, **measured, sha256=hashlib.sha256(content).hexdigest())  # type: ignore[arg-type]
    return replace(row, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path / "searches", SEARCH_SCHEMA)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "found" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(run: Path) -> set[str]:
    return {path.relative_to(run / "found").as_posix() for path in (run / "found").rglob("*.png")}


def write(run: Path, store: CellStore, searcher: str = "cw iterations=50") -> int:
    return write_found(run, [(KEY, WHITE, BLACK, searcher)], store)


def test_a_found_image_is_a_file_with_a_row(run: Path, store: CellStore) -> None:
    store.append(KEY, [record(4)])
    assert write(run, store) == 1
    (row,) = rows(run)
    assert tuple(row) == COLUMNS
    content = (run / "found" / row["path"]).read_bytes()
    assert content == png(4)
    assert row == {
        "path": row["path"],
        "label": "0",
        "subset": "net.tv_float-net.int8_served-cw_iterations_50",
        "split": "test",
        "source": "source 4",
        "target": "7",
        "seed": "val/4.jpeg",
        "white": WHITE,
        "black": BLACK,
        "searcher": "cw iterations=50",
        "agreed_class": "2",
        "white_class": "2",
        "black_class": "3",
        "white_margin": "0.25",
        "black_margin": "0.5",
        "psnr": "61.25",
        "ssim": "0.75",
        "l2": "1.5",
        "linf": "3.0",
        "sha256": hashlib.sha256(content).hexdigest(),
        "verified": "True",
    }


def test_what_was_not_found_or_did_not_hold_is_left_out(run: Path, store: CellStore) -> None:
    outcomes = ["pre_existing", "appeared", "incorrect", "not_found", "lost_on_rounding", "lost_on_reserving"]
    store.append(KEY, [record(position, outcome) for position, outcome in enumerate(outcomes)])
    store.append(KEY, [record(9), record(10, None, error="image:truncated")])
    assert write(run, store) == 1
    assert {row["seed"] for row in rows(run)} == {"val/9.jpeg"}
    assert len(files(run)) == 1


def test_no_search_leaves_an_empty_manifest(run: Path, store: CellStore) -> None:
    assert write(run, store) == 0
    assert rows(run) == []


@pytest.mark.parametrize("error", ["endpoint:unavailable", "answer:not_finite"])
def test_a_search_that_was_cut_off_leaves_its_image_not_verified(run: Path, store: CellStore, error: str) -> None:
    store.append(KEY, [record(0), record(1, None, error=error, label=2, png=png(1))])
    assert write(run, store) == 2
    one, other = rows(run)
    assert (one["verified"], other["verified"]) == ("True", "False")
    assert (other["agreed_class"], other["white_class"], other["psnr"]) == ("2", "", "")
    assert (run / "found" / other["path"]).read_bytes() == png(1)
    assert other["sha256"] == hashlib.sha256(png(1)).hexdigest()


def test_a_search_that_ended_replaces_the_image_it_was_cut_off_with(run: Path, store: CellStore) -> None:
    store.append(KEY, [record(1, None, error="endpoint:unavailable", png=png(99))])
    write(run, store)
    store.append(KEY, [record(1)])
    write(run, store)
    (row,) = rows(run)
    assert row["verified"] == "True"
    assert (run / "found" / row["path"]).read_bytes() == png(1)
    assert files(run) == {row["path"]}


@pytest.mark.parametrize("outcome", ["not_found", "lost_on_rounding"])
def test_an_image_that_did_not_hold_after_all_is_gone(run: Path, store: CellStore, outcome: str) -> None:
    store.append(KEY, [record(1, None, error="endpoint:unavailable", png=png(99))])
    assert write(run, store) == 1
    store.append(KEY, [record(1, outcome)])
    assert write(run, store) == 0
    assert files(run) == set()


def test_seeds_of_one_name_keep_their_own_files(run: Path, store: CellStore) -> None:
    """Two subsets of one data set are two cells of the same models and searcher."""
    store.append(KEY, [record(0, sample="gan/0.png")])
    store.append(OTHER_KEY, [replace(record(0, sample="vq/0.png"), png=png(5))])
    searches = [(key, WHITE, BLACK, "boundary") for key in (KEY, OTHER_KEY)]
    assert write_found(run, searches, store) == 2
    found = {row["seed"]: (run / "found" / row["path"]).read_bytes() for row in rows(run)}
    assert found == {"gan/0.png": png(0), "vq/0.png": png(5)}


@pytest.mark.parametrize(
    "sample", ["../../../escape.png", 'a b/<c>&d,e"f.png', "/etc/passwd", "..", "ä" * 300 + ".png", ".hidden"]
)
def test_names_of_seeds_can_not_lead_out_of_the_folder(run: Path, store: CellStore, sample: str) -> None:
    store.append(KEY, [record(0, sample=sample)])
    assert write(run, store, "cw ../../up") == 1
    (row,) = rows(run)
    assert row["seed"] == sample
    path = (run / "found" / row["path"]).resolve()
    assert path.is_relative_to((run / "found").resolve())
    assert path.read_bytes() == png(0)
    assert len(Path(row["path"]).parts) == 2


def test_writing_again_changes_nothing(run: Path, store: CellStore) -> None:
    store.append(KEY, [record(0), record(1)])
    write(run, store)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*.png")}
    text = (run / "found" / "manifest.csv").read_bytes()
    write(run, store)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*.png")} == before
    assert (run / "found" / "manifest.csv").read_bytes() == text


def test_a_run_is_called_by_its_name_or_its_folder(run: Path, store: CellStore, tmp_path: Path) -> None:
    store.append(KEY, [record(0)])
    write(run, store)
    manifest = run / "found" / "manifest.csv"
    assert found_table(tmp_path / "runs", tmp_path, "one") == manifest
    assert found_table(tmp_path / "elsewhere", tmp_path, "runs/one").samefile(manifest)
    assert found_table(tmp_path / "elsewhere", tmp_path / "elsewhere", str(run)) == manifest


def test_a_run_without_found_images_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^data found: one: expected a run with found/manifest\.csv, got none\. Name"):
        found_table(tmp_path / "runs", tmp_path, "one")


class Seen:
    """Opens the images of run ``one`` as a suite's data."""

    def __init__(self, root: Path) -> None:
        spec = DataSpec.model_validate({"found": "one"})
        self.data = open_dataset("d", spec, root, root / "manifests", Silent())


def test_found_images_come_back_as_they_were_written(run: Path, store: CellStore, tmp_path: Path) -> None:
    store.append(KEY, [record(0), record(1, target=None)])
    write(run, store)
    data = Seen(tmp_path).data
    assert data.ready
    assert "one" in data.note
    (info,) = data.subsets()
    assert (info.count, info.split, info.label) == (2, "test", 0)
    assert info.label != FAKE
    samples = list(data.samples(info.subset, "test"))
    assert [data.read(sample) for sample in samples] == [png(0), png(1)]
    assert [sample.source for sample in samples] == ["source 0", "source 1"]
    assert [sample.target for sample in samples] == [7, None]
    assert [sample.sha256 for sample in samples] == [row["sha256"] for row in rows(run)]


def test_found_images_are_neither_resized_nor_cropped(run: Path, store: CellStore, tmp_path: Path) -> None:
    store.append(KEY, [record(position) for position in range(3)])
    write(run, store)
    data = Seen(tmp_path).data
    script = {"card": {"name": "scripted.one", "score": "statistic", "preprocess": {"resize": 40, "crop": 4}}}
    model = {"name": "scripted.one", "endpoint": f"scripted:{json.dumps(script)}", "options": {"batch": 2}}
    task = {"kind": "detection", "data": "d", "audit": False}
    asked = Suite.model_validate({"name": "s", "data": {"d": {"found": "one"}}, "models": [model], "tasks": [task]})
    cells = CellStore(tmp_path / "cells")
    with open_models(expand(asked.models, Path())) as models:
        plan = make_plan(asked, models, {"d": data})
        answer(plan.cells, models, {"d": data}, cells, asked.seed, Silent())
    (cell,) = plan.cells
    for position, row in enumerate(cells.read(cell.key).to_pylist()):
        whole = np.asarray(PILImage.open(io.BytesIO(png(position))))
        assert row["scores"] == pytest.approx([whole.mean() / 255], abs=1e-6)
        assert whole[2:6, 2:6].mean() / 255 != pytest.approx(row["scores"][0], abs=1e-4)
    sample = next(iter(data.samples(cell.subset, "test")))
    spec = Preprocess(resize=40, crop=4).ready
    np.testing.assert_array_equal(prepare(data, sample, [("none", spec)], 0)[("none", spec)], whole_of(0))


def whole_of(position: int) -> np.ndarray:
    return np.asarray(PILImage.open(io.BytesIO(png(position))))
