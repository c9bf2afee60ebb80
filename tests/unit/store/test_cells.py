from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines import open_chunks
from harness.errors import DamagedWarning, StoreError
from harness.store.cells import CellStore
from harness.store.files import write_atomic
from harness.store.loads import LOAD_SCHEMA, LoadRecord
from harness.store.records import Record
from harness.store.runs import RunInfo, RunStore

KEY = "ab" * 32


def row(position: int, score: float | None = 0.5, error: str | None = None) -> Record:
    return Record(position, f"{position}.png", str(position), position % 2, None if score is None else (score,), error)


def test_records_come_back_by_position(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, [row(4), row(5)])
    store.append(KEY, [row(0), row(1, None, "image:truncated")])
    table = store.read(KEY)
    assert table["position"].to_pylist() == [0, 1, 4, 5]
    assert table["scores"].to_pylist() == [[0.5], None, [0.5], [0.5]]
    assert store.answered(KEY).tolist() == [0, 1, 4, 5]
    assert store.size(KEY) > 0


def test_an_answer_wins_over_a_failure_whatever_the_order(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, [row(0, 0.25), row(1, None, "endpoint:timeout")])
    store.append(KEY, [row(0, None, "endpoint:timeout"), row(1, 0.75)])
    assert store.read(KEY)["scores"].to_pylist() == [[0.25], [0.75]]


def test_failures_of_the_endpoint_are_asked_again_and_those_of_the_image_are_not(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, [row(0, None, "endpoint:timeout"), row(1, None, "image:empty"), row(2)])
    assert store.answered(KEY).tolist() == [1, 2]


def test_a_cell_without_records_is_empty(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    assert store.read(KEY).num_rows == 0
    assert store.answered(KEY).tolist() == []


@given(cut=st.integers(0, 2000))
def test_a_damaged_part_counts_as_not_there(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cells")
    store = CellStore(folder)
    store.append(KEY, [row(0)])
    whole = next(folder.rglob("*.parquet"))
    store.append(KEY, [row(1)])
    damaged = next(path for path in folder.rglob("*.parquet") if path != whole)
    content = damaged.read_bytes()
    damaged.write_bytes(content[: min(cut, len(content) - 1)])
    with pytest.warns(DamagedWarning, match=damaged.name):
        assert store.answered(KEY).tolist() == [0]


@pytest.mark.parametrize("digest", [True, False])
def test_text_that_is_none_is_damage(tmp_path: Path, digest: bool) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, [row(3)])
    (path,) = store.parts()
    content = path.read_bytes()
    assert content.count(b"3.png") > 0
    path.unlink()
    name = path.name if digest else "000000003-x.parquet"
    (path.parent / name).write_bytes(content.replace(b"3.png", b"\xff.png"))
    with pytest.warns(DamagedWarning, match="expected a whole part, got"):
        assert store.read(KEY).num_rows == 0


def test_a_column_that_an_earlier_version_did_not_have_is_null(tmp_path: Path) -> None:
    earlier = LOAD_SCHEMA.remove(LOAD_SCHEMA.get_field_index("machine_memory"))
    CellStore(tmp_path, earlier).append(KEY, [LoadRecord(0, "a", None, None, 0.0, 0.0, 0.1, 0.1, 1, memory=7)])
    store = CellStore(tmp_path, LOAD_SCHEMA)
    store.append(KEY, [LoadRecord(1, "a", None, None, 0.0, 0.0, 0.1, 0.1, 1, memory=8, machine_memory=9)])
    table = store.read(KEY)
    assert set(table.schema.names) == set(LOAD_SCHEMA.names)
    assert table["memory"].to_pylist() == [7, 8]
    assert table["machine_memory"].to_pylist() == [None, 9]


def test_a_place_that_can_be_no_folder_is_said() -> None:
    with pytest.raises(StoreError, match="expected a folder of records, got File name too long"):
        CellStore("9" * 5000).read(KEY)


def test_an_unwritable_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        write_atomic(tmp_path / "file" / "x.json", b"")


@given(st.integers(0, 60), st.integers(1, 9), st.sets(st.integers(0, 70)))
def test_whole_chunks_are_open(images: int, batch: int, answered: set[int]) -> None:
    import numpy as np

    mask = open_chunks(np.array(sorted(answered), np.int64), images, batch)
    assert len(mask) == images
    for start in range(0, images, batch):
        chunk = range(start, min(start + batch, images))
        assert all(mask[i] == (not set(chunk) <= answered) for i in chunk)


def test_runs_are_found_again(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first = RunInfo(
        id="a", plan="p", suite="s.yaml", spec={}, status="interrupted", started="2026-01-01T00:00:00+00:00"
    )
    store.save(first)
    store.save(first.model_copy(update={"id": "b", "status": "complete", "started": "2026-01-02T00:00:00+00:00"}))
    assert store.unfinished("p") == first
    assert store.unfinished("q") is None
    assert store.load("b").status == "complete"
    with pytest.raises(StoreError, match="Latest runs: a, b"):
        store.load("c")
    (store.folder("b") / "run.json").write_text("{")
    with pytest.raises(StoreError, match="readable"):
        store.load("b")
    with pytest.warns(DamagedWarning, match="b/run.json"):
        assert [info.id for info in store.all()] == ["a"]
