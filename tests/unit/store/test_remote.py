"""Records at URLs: as in a folder, on real servers that speak S3's and Google's protocols, and in fsspec's memory."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness.errors import HarnessError, StoreError
from harness.store.cells import CellStore
from harness.store.records import Record
from harness.store.runs import RunStore
from tests.buckets import bucket, google_bucket

KEY, OTHER = "ab" * 32, "cd" * 32

pytest.importorskip("fsspec", reason="the extra `remote` is not installed")


def rows(*positions: int, score: float = 0.5, error: str | None = None) -> list[Record]:
    scores = None if error else (score,)
    return [Record(at, f"{at}.png", str(at), at % 2, scores, error) for at in positions]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with bucket():
        yield "s3://discern"


@pytest.fixture(scope="module")
def gs() -> Iterator[str]:
    with google_bucket():
        yield "gs://discern"


@pytest.fixture(params=["folder", "file", "memory", "s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param in ("s3", "gs"):
        return f"{request.getfixturevalue(request.param)}/{uuid4().hex}"
    return {"folder": tmp_path, "file": f"file://{tmp_path}", "memory": f"memory://{uuid4().hex}"}[request.param]


def test_records_come_back_once_from_wherever_they_are(place: Path | str) -> None:
    store = CellStore(place)
    assert store.read(KEY).num_rows == 0
    store.append(KEY, rows(3, 4, 5))
    store.append(KEY, rows(0, 1, error="endpoint:timeout"))
    store.append(KEY, rows(1, 2, score=0.25))
    again = CellStore(place)
    table = again.read(KEY)
    assert table["position"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert table["scores"].to_pylist() == [None, [0.25], [0.25], [0.5], [0.5], [0.5]]
    assert again.answered(KEY).tolist() == [1, 2, 3, 4, 5]
    assert again.answered(OTHER).tolist() == []


def test_a_retried_shard_writes_the_same_part(place: Path | str) -> None:
    store = CellStore(place)
    store.append(KEY, rows(0, 1))
    state, size = store.state([KEY]), store.size(KEY)
    CellStore(place).append(KEY, rows(0, 1))
    assert (store.state([KEY]), store.size(KEY)) == (state, size)
    assert len(store.part_names(KEY)) == 1


def test_of_a_span_only_its_parts_are_opened(place: Path | str) -> None:
    store = CellStore(place)
    for start in range(0, 30, 10):
        store.append(KEY, rows(*range(start, start + 10)))
    assert store.answered(KEY, range(10, 20)).tolist() == list(range(10, 20))
    assert store.answered(KEY, range(9, 11)).tolist() == list(range(20))
    assert store.answered(KEY, range(30, 40)).tolist() == []


def test_names_of_earlier_versions_say_the_first_position(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, rows(*range(10)))
    (part,) = store.parts()
    part.rename(part.with_name("000000000-12345678.parquet"))
    assert store.answered(KEY, range(5, 8)).tolist() == list(range(10))


def test_a_damaged_object_counts_as_not_there_and_is_healed(s3: str) -> None:
    store = CellStore(f"{s3}/{uuid4().hex}")
    store.append(KEY, rows(0, 1))
    (name,) = store.part_names(KEY)
    store.shelf.write(f"{KEY[:2]}/{KEY}/{name}", b"PAR1 and no more")
    with pytest.warns(UserWarning, match="a whole part"):
        assert store.answered(KEY).tolist() == []
    store.append(KEY, rows(0, 1))
    assert store.answered(KEY).tolist() == [0, 1]


def test_a_cell_is_copied_from_a_url_into_a_folder(s3: str, tmp_path: Path) -> None:
    store, folder = CellStore(f"{s3}/{uuid4().hex}"), CellStore(tmp_path)
    store.append(KEY, rows(0, 1))
    store.copy(KEY, folder)
    assert folder.read(KEY).equals(store.read(KEY))


def test_all_records_of_a_run_go_below_one_url(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    store = RunStore(tmp_path, f"{url}/")
    store.cells.append(KEY, rows(0))
    assert CellStore(f"{url}/cells").answered(KEY).tolist() == [0]
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_store_that_refuses_is_no_empty_one(s3: str) -> None:
    store = CellStore("s3://nobody-has-made-this/x")
    with pytest.raises(StoreError, match="a store that takes and gives records"):
        store.append(KEY, rows(0))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://key:canary@bucket/x", "without credentials"),
        ("gopher://host/x", "a scheme that fsspec knows"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        CellStore(url)
    assert "canary" not in str(caught.value)
