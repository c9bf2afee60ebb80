"""The engine against scripted models and real image files: what is asked, in which batches, and what is kept."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from harness.data.folder import FolderDataset
from harness.data.opening import open_dataset
from harness.data.sample import Sample
from harness.engines import GIVE_UP, answer, open_chunks
from harness.errors import NOT_FINITE, EndpointUnavailable
from harness.events import Silent
from harness.models import Model, expand, open_models
from harness.plan import Plan, make_plan
from harness.spec.suite import DataSpec, Suite
from harness.store.cells import CellStore
from tests.noise import write_noise

IMAGES = 7
SIDE = 16


class Reading(FolderDataset):
    """A folder that counts how often each file is read."""

    def __init__(self, inner: FolderDataset) -> None:
        super().__init__(inner.name, inner.root, inner.manifest)
        self.reads: Counter[str] = Counter()

    def read(self, sample: Sample) -> bytes:
        self.reads[sample.path] += 1
        return super().read(sample)


@pytest.fixture
def data(tmp_path: Path) -> Reading:
    write_noise(tmp_path / "images", IMAGES, SIDE)
    opened = open_dataset("d", DataSpec(layout="real_fake", root="images"), tmp_path, tmp_path / "manifests", Silent())
    assert isinstance(opened, FolderDataset)
    return Reading(opened)


def suite(
    faults: Sequence[dict[str, Any]] = (), degradations: Sequence[str] = ("none",), takes: Any = None, **options: Any
) -> Suite:
    card = {"name": "scripted.brightness", "score": "statistic", "preprocess": takes or {}}
    script = {"card": card, "faults": list(faults)}
    return Suite.model_validate(
        {
            "name": "engine",
            "data": {"d": {"layout": "miniature"}},
            "models": [
                {
                    "name": "scripted.brightness",
                    "endpoint": f"scripted:{json.dumps(script)}",
                    "options": {"batch": 3, "retries": 0, "backoff_s": 0.001, **options},
                }
            ],
            "tasks": [{"kind": "detection", "name": "t", "data": "d", "degradations": list(degradations)}],
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path / "cells")


def go(asked: Suite, data: Reading, store: CellStore) -> tuple[Plan, Model]:
    with open_models(expand(asked.models, Path())) as models:
        plan = make_plan(asked, models, {"d": data})
        answer(plan.cells, models, {"d": data}, store, asked.seed, Silent())
        return plan, next(iter(models.values()))


def requests(model: Model) -> int:
    return int(model.backend.inner.requests)  # type: ignore[attr-defined]


def rows(plan: Plan, store: CellStore) -> Iterator[dict[str, Any]]:
    for cell in plan.cells:
        yield from store.read(cell.key).to_pylist()


def test_every_image_is_answered_with_its_own_score(data: Reading, store: CellStore) -> None:
    plan, _ = go(suite(), data, store)
    found = list(rows(plan, store))
    assert len(found) == 2 * IMAGES
    for row in found:
        pixels = np.asarray(PILImage.open(data.root / row["sample"]))
        assert row["scores"] == pytest.approx([pixels.mean() / 255], abs=1e-6)
        assert row["label"] == (1 if "1_fake" in row["sample"] else 0)


def test_one_decode_serves_all_degradations(data: Reading, store: CellStore) -> None:
    plan, _ = go(suite(degradations=["none", "jpeg quality=65", "blur sigma=2"]), data, store)
    assert len(list(rows(plan, store))) == 3 * 2 * IMAGES
    assert set(data.reads.values()) == {1}


def test_nothing_is_asked_twice(data: Reading, store: CellStore) -> None:
    go(suite(), data, store)
    data.reads.clear()
    _, model = go(suite(), data, store)
    assert requests(model) == 0
    assert not data.reads


def test_an_answer_that_is_no_number_costs_one_record(data: Reading, store: CellStore) -> None:
    plan, _ = go(suite([{"kind": "nan", "first": 1, "times": 1}]), data, store)
    failed = [row for row in rows(plan, store) if row["error"]]
    assert [row["error"] for row in failed] == [NOT_FINITE]
    assert sum(row["scores"] is not None for row in rows(plan, store)) == 2 * IMAGES - 1
    _, model = go(suite(), data, store)
    assert requests(model) == 0


def test_a_broken_image_costs_one_record(data: Reading, store: CellStore) -> None:
    broken = data.root / "set" / "1_fake" / "3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    plan, _ = go(suite(), data, store)
    failed = [row for row in rows(plan, store) if row["error"]]
    assert [(row["sample"], row["error"]) for row in failed] == [("set/1_fake/3.png", "image:truncated")]


def test_an_image_smaller_than_the_model_takes_costs_one_record(data: Reading, store: CellStore) -> None:
    small = data.root / "set" / "1_fake" / "3.png"
    PILImage.new("RGB", (SIDE, SIDE - 1)).save(small)
    plan, _ = go(suite(takes={"crop": SIDE, "pad": False}), data, store)
    failed = [row for row in rows(plan, store) if row["error"]]
    assert [(row["sample"], row["error"]) for row in failed] == [("set/1_fake/3.png", "image:too_small")]


def test_a_bad_answer_costs_its_request_and_is_asked_again(data: Reading, store: CellStore) -> None:
    plan, _ = go(suite([{"kind": "shape", "first": 0, "times": 1}]), data, store)
    failed = [row for row in rows(plan, store) if row["error"]]
    assert len(failed) == 3
    assert {row["error"] for row in failed} == {"endpoint:bad_answer"}
    _, model = go(suite(), data, store)
    assert requests(model) == 1
    assert not any(row["error"] for row in rows(plan, store))


def test_retries_hide_a_passing_failure(data: Reading, store: CellStore) -> None:
    plan, model = go(suite([{"kind": "unavailable", "first": 0, "every": 2}], retries=2, concurrency=1), data, store)
    assert not any(row["error"] for row in rows(plan, store))
    assert requests(model) == 2 * 6


def test_an_endpoint_that_stays_away_ends_the_run_and_keeps_its_answers(data: Reading, store: CellStore) -> None:
    away = suite([{"kind": "unavailable", "first": 2}], concurrency=1)
    with pytest.raises(EndpointUnavailable, match=rf"none for {GIVE_UP} requests in a row"):
        go(away, data, store)
    plan, model = go(suite(), data, store)
    assert requests(model) == 6 - 2
    assert sum(row["scores"] is not None for row in rows(plan, store)) == 2 * IMAGES


def test_degradations_draw_the_same_whatever_was_answered_before(
    data: Reading, store: CellStore, tmp_path: Path
) -> None:
    degradations = ["none", "jpeg quality=50"]
    plan, _ = go(suite(degradations=degradations), data, store)
    whole = list(rows(plan, store))
    other = CellStore(tmp_path / "others")
    go(suite([{"kind": "shape", "first": 1, "every": 2}], degradations), data, other)
    go(suite(degradations=degradations), data, other)
    assert list(rows(plan, other)) == whole


@given(
    images=st.integers(1, 60),
    batch=st.integers(1, 9),
    answered=st.sets(st.integers(0, 59)),
)
def test_open_chunks_are_whole_and_miss_something(images: int, batch: int, answered: set[int]) -> None:
    done = np.array(sorted(answered), np.int64)
    found = open_chunks(done, images, batch)
    for start in range(0, images, batch):
        positions = range(start, min(start + batch, images))
        assert {bool(found[position]) for position in positions} == {not answered.issuperset(positions)}
