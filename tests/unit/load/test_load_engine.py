"""The engine of load tasks on scripted models, with a store on disk; and what its records become."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.backends import EndpointOptions, open_backend
from harness.data.sample import Sample, SubsetInfo
from harness.errors import DataError, ImageError, SuiteError
from harness.events import Silent
from harness.load.cells import LoadCell, load_cells
from harness.load.engine import put_under_load
from harness.load.memory import Memory
from harness.models import Model
from harness.report.document import document
from harness.report.load import load_sections
from harness.report.tree import Curves, Report, Table, Text
from harness.site.entry import read_entry
from harness.spec.loading import LoadTask
from harness.store.cells import CellStore
from harness.store.loads import LOAD_SCHEMA, WRONG, LoadRecord
from harness.tasks.load import evaluate_loads
from tests.unit.sites import run_json


class Images:
    """A few images of two subsets; one of them can't be read."""

    name, note, ready, digest = "images", "", False, "0" * 64

    def subsets(self) -> list[SubsetInfo]:
        return [SubsetInfo(name, 0, "test", 3) for name in ("a", "b")]

    def samples(self, subset: str, split: str, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        for number in range(3):
            yield Sample(f"{subset}/{number}", "", 0, 4, 4, "png", None, 0, subset, split, f"{subset}/{number}")

    def read(self, sample: Sample) -> bytes:
        if sample.path == "b/0":
            raise ImageError("truncated", "cut off")
        content = io.BytesIO()
        Image.new("RGB", (4, 4), (40 * int(sample.path[-1]), 9, 9)).save(content, "png")
        return content.getvalue()


class Unreadable(Images):
    def read(self, sample: Sample) -> bytes:
        raise ImageError("truncated", "cut off")


def model(**script: object) -> Model:
    said = {"card": {"name": "a.b"}, "delay_s": 0.002, **script}
    backend = open_backend(f"scripted:{json.dumps(said)}", EndpointOptions(concurrency=2, retries=0))
    info = backend.info()
    assert info.card is not None
    return Model("a.b", info.card, info, backend, "scripted")


def task(**said: object) -> LoadTask:
    given = {"kind": "load", "data": "images", "images": 4, "seconds": 0.3, "warmup_s": 0.1, "stable_within": 9}
    return LoadTask.model_validate({**given, "concurrency": [], **said})


def cells_of(asked: LoadTask, limit: int | None = None, nonce: str = "run") -> list[LoadCell]:
    return list(load_cells(asked, Images(), {"a.b": model().card}, {"a.b": {"weights": "1"}}, limit, 0, nonce))


def measure(cells: list[LoadCell], store: CellStore, asked: Model) -> None:
    put_under_load(cells, {"a.b": asked}, {"images": Images()}, store, 0, Silent())


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path / "loads", LOAD_SCHEMA)


def test_every_request_is_a_record(store: CellStore) -> None:
    (cell,) = cells_of(task(rate=200, arrivals="constant", repeats=2, batch=2))
    measure([cell], store, model())
    rows = store.read(cell.key).to_pandas()
    assert list(rows["position"]) == list(range(len(rows)))
    assert list(rows.groupby("repeat").size()) == [60, 60]
    assert set(rows["sample"]) == {"a/0", "b/1"}  # images by turns of subsets, two a request, from the readable ones
    assert rows["error"].isna().all()
    assert (rows["batch"] == 2).all()
    assert (rows["rate"] == 200).all()
    first = rows[rows["repeat"] == 0]
    np.testing.assert_allclose(first["scheduled"], np.arange(60) / 200, atol=1e-9)
    assert (rows["seconds"] >= rows["service"] - 1e-9).all()
    assert (rows["service"] >= 0.002).all()


def test_answers_are_held_against_those_at_rest(store: CellStore) -> None:
    faults = [{"kind": "nan", "first": 5, "every": 2, "times": 2}, {"kind": "refused", "first": 6, "times": 1}]
    (cell,) = cells_of(task(concurrency=1, warmup_s=0, slo_ms=50))
    measure([cell], store, model(faults=faults))
    errors = store.read(cell.key).to_pandas()["error"].dropna()
    assert sorted(errors) == ["answer:not_finite", "answer:not_finite", "endpoint:refused"]
    (figures,) = evaluate_loads(cell.task, [cell], store, 0.02).figures
    assert figures.goodput is not None
    assert figures.goodput.value == pytest.approx(1 - 3 / figures.requests)


def test_an_answer_to_another_image_is_wrong(store: CellStore) -> None:
    asked = model(rule="hash")
    inner = asked.backend.inner  # type: ignore[attr-defined]
    (cell,) = cells_of(task(concurrency=1, warmup_s=0))
    infer, count = inner.infer, iter(range(10**6))

    def swapped(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return infer({name: value + (next(count) > 6) for name, value in inputs.items()})

    inner.infer = swapped
    measure([cell], store, asked)
    errors = store.read(cell.key).to_pandas()["error"]
    assert errors[:3].isna().all()
    assert (errors[3:] == WRONG).all()
    found = evaluate_loads(cell.task, [cell], store, 0.02)
    assert any("wrong answers" in reason for reason in found.figures[0].reasons)
    assert found.reasons[0].startswith("load: a.b gave")


def test_what_is_on_disk_is_not_measured_again(store: CellStore) -> None:
    (cell,) = cells_of(task(concurrency=1, repeats=2, seconds=0.1))
    measure([cell], store, model())
    before = store.read(cell.key).to_pandas()
    measure([cell], store, model(faults=[{"kind": "refused"}]))
    assert store.read(cell.key).to_pandas().equals(before)


def test_a_lost_repeat_is_measured_again_behind_the_others(store: CellStore) -> None:
    (cell,) = cells_of(task(rate=100, arrivals="constant", repeats=2, seconds=0.1))
    measure([cell], store, model())
    first, second = sorted((store.root / cell.key[:2] / cell.key).glob("*.parquet"))
    kept = store.read(cell.key).to_pandas().query("repeat == 1").reset_index(drop=True)
    first.unlink()
    measure([cell], store, model())
    rows = store.read(cell.key).to_pandas()
    assert second.exists()
    assert list(rows.groupby("repeat").size()) == [10, 10]
    assert rows[: len(kept)].equals(kept)


def row(position: int, **said: object) -> LoadRecord:
    given = {"sample": "a/0", "error": None, "detail": None, "sent": position / 100, "seconds": 0.01, "service": 0.01}
    return LoadRecord(**{"position": position, "scheduled": position / 100, "batch": 1, **given, **said})  # type: ignore[arg-type]


def test_requests_that_never_came_back_are_later_than_any(store: CellStore) -> None:
    """18 of 1,000 are lost: the median is that of the others, and nobody knows the 99th percentile."""
    (cell,) = cells_of(task(rate=100, slo_ms=50))
    lost = {"error": "endpoint:timeout", "detail": "", "seconds": None, "service": None}
    store.append(cell.key, [row(number, **(lost if number % 55 == 54 else {})) for number in range(1000)])
    found = evaluate_loads(cell.task, [cell], store, 0.02)
    (figures,) = found.figures
    assert (figures.failures.total(), figures.reasons) == (18, ())  # type: ignore[attr-defined]
    assert figures.latency["p50"].value == pytest.approx(0.01)
    assert figures.latency["p90"].value == pytest.approx(0.01)
    assert np.isnan(figures.latency["p99"].value)
    assert figures.latency["p99"].n == 1000
    (section,) = load_sections(found, many=False)
    (said,) = (block.body for block in section.blocks if isinstance(block, Text))
    assert "p99 and p99.9 can lie beyond the time limit" in said


def test_loads_that_are_valid_stand_on_the_site(store: CellStore) -> None:
    """The highest of each table leads; what is INVALID does not compete."""
    asked = task(concurrency=[1, 2, 4], peak={"slo_ms": 100, "percentile": 90})
    cells = cells_of(asked)
    for cell in cells[:3]:
        wrong = WRONG if cell.load.brief.endswith("4") else None
        pace = 1 if cell.load.brief.endswith("1") else 2
        store.append(cell.key, [row(number, scheduled=number / 100 / pace, error=wrong) for number in range(100)])
    store.append(cells[3].key, [row(number, rate=100.0) for number in range(50)])
    store.append(cells[3].key, [row(50 + number, rate=200.0, seconds=0.5) for number in range(50)])
    sections = tuple(load_sections(evaluate_loads(asked, cells, store, 0.02), many=False))
    told = document(Report("r", "", "VALID", (), sections)).encode()
    spec = {"name": "suite", "tasks": [{"name": "load"}]}
    entry = read_entry("r", json.dumps({**run_json("r"), "spec": spec}).encode(), told)
    assert not entry.trouble
    assert [(item.task, item.name.partition(" · ")[2], item.headline.key) for item in entry.standings] == [
        ("load: Every load", cells[1].load.brief, "throughput"),
        ("load: Every load", cells[0].load.brief, "throughput"),
        ("load: Peaks", "90 % right within 100 ms", "rate"),
    ]


def test_memory_is_shown_as_far_as_it_is_known(store: CellStore) -> None:
    """The most of all repeats, and no column of what nobody tells."""
    cells = cells_of(task(concurrency=[1, 2]))
    told: list[dict[str, object]] = [{"memory": 5, "gpu_memory": None}, {"memory": 7}, {"machine_memory": 9}, {}]
    for cell, (first, second) in zip(cells, (told[:2], told[2:]), strict=True):
        for repeat, more in enumerate((first, second)):
            store.append(cell.key, [row(30 * repeat + number, repeat=repeat, **more) for number in range(30)])
    found = evaluate_loads(cells[0].task, cells, store, 0.02)
    assert [item.memory for item in found.figures] == [Memory(process=7), Memory(machine=9)]
    (section,) = load_sections(found, many=False)
    (table,) = (block for block in section.blocks if isinstance(block, Table) and block.name == "load_inside")
    shown = [column.key for column in table.columns if column.kind == "bytes"]
    assert shown == ["process", "machine"]
    assert [row["process"] for row in table.rows] == [7, None]


def test_wrong_answers_in_a_search_spoil_the_run(store: CellStore) -> None:
    (cell,) = cells_of(task(peak={"slo_ms": 100, "percentile": 90}))
    store.append(cell.key, [row(number, rate=100.0, error=WRONG if number == 3 else None) for number in range(50)])
    store.append(cell.key, [row(50 + number, rate=200.0, seconds=0.5) for number in range(50)])
    found = evaluate_loads(cell.task, [cell], store, 0.02)
    assert found.peaks[0].rate == 100
    assert found.reasons[0] == "load: a.b gave 1 wrong answers to 100 requests"


@pytest.mark.parametrize(("broken", "more"), [("Early stopping", True), ("Min duration", False)])
def test_a_run_that_loadgen_finds_too_short_says_what_to_do(store: CellStore, broken: str, more: bool) -> None:
    (cell,) = cells_of(task(rate=100))
    verdict = f"INVALID ({broken} satisfied: no); 99.0th percentile latency (ns): 1"
    store.append(cell.key, [row(number, verdict=verdict) for number in range(100)])
    (figures,) = evaluate_loads(cell.task, [cell], store, 0.02).figures
    assert figures.reasons[0].endswith("raise `seconds`") == more


def test_a_search_finds_what_a_model_can_do_and_goes_on_where_it_was_cut_off(store: CellStore) -> None:
    """Two threads of 10 ms each answer 200 a second; at 100 ms, 90 %, a rate near it holds and twice that does not.

    A busy machine answers fewer, and none answers more.
    """
    (cell,) = cells_of(task(peak={"slo_ms": 100, "percentile": 90, "precision": 0.5, "arrivals": "constant"}))
    asked = model(delay_s=0.01)
    measure([cell], store, asked)
    (peak,) = evaluate_loads(cell.task, [cell], store, 0.02).peaks
    assert 10 < peak.rate <= 300
    assert peak.missed <= 1.5 * peak.rate + 1e-9
    assert len(peak.steps) == len({item.step.rate for item in peak.steps})
    parts = sorted((store.root / cell.key[:2] / cell.key).glob("*.parquet"))
    parts[-1].unlink()
    measure([cell], store, asked)
    assert len(sorted((store.root / cell.key[:2] / cell.key).glob("*.parquet"))) >= len(parts)


def test_loadgen_and_loops_end_in_one_report(store: CellStore) -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra `load` is not installed")
    asked = task(concurrency=[1, 2], scenarios=["SingleStream", "Offline"], seconds=0.2, slo_ms=100)
    cells = cells_of(asked)
    measure(cells, store, model())
    found = evaluate_loads(asked, cells, store, 0.02)
    assert [item.load.name for item in found.figures] == ["concurrency", "concurrency", "SingleStream", "Offline"]
    for item in found.figures:
        assert 0.002 <= item.latency["p50"].value < 0.1
        assert item.throughput > 1
    assert found.figures[3].goodput is None
    ends = ("VALID", "INVALID (Early", "INVALID (Min duration")  # a busy machine can be slower than known before
    assert all(item.verdict.startswith(ends) for item in found.figures[2:])
    sections = tuple(load_sections(found, many=True))
    blocks = list(Report("r", "", "VALID", (), sections).blocks())
    assert {block.name for block in blocks if isinstance(block, Curves)} == {
        "load_latency_by_concurrency",
        "load_throughput_by_concurrency",
    }
    (table,) = (block for block in blocks if isinstance(block, Table) and block.name == "load_loads_leaderboard")
    assert len(table.rows) == 4
    figures = [place for place, column in enumerate(table.columns) if column.better]
    assert [column.key for column in table.columns[: figures[0] + 1]] == ["rank", "model", "load", "throughput"]


def test_keys_are_the_runs_own() -> None:
    keys = {cell.key for cell in cells_of(task(concurrency=[1, 2], rate=5))}
    assert len(keys) == 3
    assert keys == {cell.key for cell in cells_of(task(concurrency=[1, 2], rate=5))}
    assert keys.isdisjoint(cell.key for cell in cells_of(task(concurrency=[1, 2], rate=5), nonce="another"))
    assert keys.isdisjoint(cell.key for cell in cells_of(task(concurrency=[1, 2], rate=5), limit=2))


@pytest.mark.parametrize(("said", "words"), [({"models": ["c.*"]}, "models"), ({"split": "val"}, "split val")])
def test_what_can_not_be_sent_is_refused_before(said: dict[str, object], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        cells_of(task(concurrency=1, **said))


def test_images_that_can_not_be_read_are_refused(store: CellStore) -> None:
    with pytest.raises(DataError, match="none that can be read"):
        put_under_load(cells_of(task(concurrency=1)), {"a.b": model()}, {"images": Unreadable()}, store, 0, Silent())


@pytest.mark.parametrize("said", [{}, {"concurrency": [1, 1]}, {"scenarios": ["Sever"]}, {"rate": [0]}])
def test_a_task_that_sends_nothing_or_the_same_twice_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"nothing is sent|twice|Server|greater than 0"):
        task(**said)
