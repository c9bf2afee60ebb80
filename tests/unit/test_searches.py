"""Searches of whole cells against models that are formulas: what becomes of each image, and what is kept."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PILImage

from harness.backends.base import EndpointOptions, ModelInfo
from harness.card import Card
from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.engines import answer
from harness.errors import EndpointUnavailable
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.images.quality import distance
from harness.models import Model
from harness.plan import Plan, make_plan
from harness.searches import search
from harness.spec.suite import DataSpec, Suite
from harness.store.runs import RunStore

WHITE, BLACK, GRADIENT = "net.tv_float", "net.int8", "net.tv_float.gradient"
SIDE = 12
BORDER = 128
"""Brighter than this is class 1 to the white model."""


class Threshold:
    """Class 1 where an image's mean is above a border, which may be another one for images asked alone.

    Asked for it, it also answers with its margin and its gradient. Its logits are not finite for images that are
    brighter than 250; ``until`` requests are answered.
    """

    def __init__(self, border: float, alone: float | None = None, until: float = np.inf) -> None:
        self.border, self.alone, self.until = border, border if alone is None else alone, until
        self.endpoint, self.options = "formula:", EndpointOptions(batch=2)
        self.asked = 0

    def info(self) -> ModelInfo:
        return ModelInfo(card=None, weights_sha256=f"{self.border} {self.alone}")

    def close(self) -> None:
        pass

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.asked += 1
        if self.asked > self.until:
            raise EndpointUnavailable("nobody answers")
        images = inputs["image"]
        mean = images.reshape(len(images), -1).mean(axis=1) - (self.alone if len(images) == 1 else self.border)
        scores = np.stack([-mean, mean], axis=1).astype(np.float32)
        scores[images.reshape(len(images), -1).mean(axis=1) > 250] = np.nan
        if "target" not in inputs:
            return {"score": scores}
        sign = np.where(inputs["target"].argmax(axis=1) == 1, 1, -1).astype(np.float32)
        slopes = np.broadcast_to((sign * 2 * 255 / images[0].size)[:, None, None, None], images.shape)
        return {"score": scores, "loss": (sign * 2 * mean).astype(np.float32)[:, None], "gradient": slopes}


def model(name: str, backend: Threshold) -> Model:
    kind = "gradient" if name == GRADIENT else "classification"
    card = Card(name=name, task=kind, classes=("dark", "bright"), preprocess=Preprocess(crop=SIDE))
    return Model(name, card, backend.info(), backend, "onnx")


GREYS = {"apart": 123, "alone": 115, "bright": 135, "brighter": 140, "dark": 60, "white": 253}
"""The pictures' means: between the borders, between the borders asked alone, and where both models agree."""


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    random = np.random.default_rng(0)
    for name, mean in GREYS.items():
        noise = random.integers(-2, 3, (SIDE, SIDE, 3))
        PILImage.fromarray((mean + noise - noise.mean().round()).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "bright.png").read_bytes()[:100])
    (tmp_path / "last.png").write_bytes((tmp_path / "bright.png").read_bytes())
    rows = "".join(f"{name}.png,0,x,{int(name != 'brighter')}\n" for name in [*GREYS, "broken", "last"])
    (tmp_path / "m.csv").write_text(f"path,label,subset,target\n{rows}")
    return open_dataset("d", DataSpec(layout="manifest", root="m.csv"), tmp_path, tmp_path / "cache", Silent())


class Bench:
    """One run's store, and searches in it."""

    def __init__(self, root: Path, data: Dataset) -> None:
        self.store, self.data = RunStore(root), data

    def go(
        self,
        white: Threshold,
        black: Threshold,
        seeds: str = "agree",
        searcher: str = "boundary",
        die: Callable[[], None] = lambda: None,
    ) -> Plan:
        """Answer the seeds' cells, then search; ``die`` is called between."""
        task = {"kind": "disagreement", "data": "d", "pairs": [{"white": WHITE, "black": BLACK}], "seeds": seeds}
        said = {
            "name": "s",
            "data": {"d": {"layout": "miniature"}},
            "models": [{"name": WHITE}, {"name": BLACK}, {"name": GRADIENT}],
        }
        suite = Suite.model_validate({**said, "tasks": [{**task, "searchers": [searcher]}]})
        backends = {WHITE: white, BLACK: black, GRADIENT: Threshold(white.border)}
        models = {name: model(name, backend) for name, backend in backends.items()}
        plan = make_plan(suite, models, {"d": self.data})
        answer(plan.cells, models, {"d": self.data}, self.store.cells, suite.seed, Silent())
        die()
        search(plan.searches, models, {"d": self.data}, self.store, suite.seed, Silent())
        return plan

    def rows(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Records by the picture's name."""
        (cell,) = plan.searches
        return {row["sample"].removesuffix(".png"): row for row in self.store.searches.read(cell.key).to_pylist()}


@pytest.fixture
def bench(tmp_path: Path, data: Dataset) -> Bench:
    return Bench(tmp_path / "reports", data)


def test_every_image_has_one_record_that_says_what_became_of_it(bench: Bench) -> None:
    rows = bench.rows(bench.go(Threshold(BORDER), Threshold(120, alone=110)))
    assert set(rows) == {*GREYS, "broken", "last"}
    assert rows["apart"]["outcome"] == "pre_existing"
    assert rows["alone"]["outcome"] == "appeared"
    assert rows["white"]["error"] == "answer:not_finite"
    assert rows["broken"]["error"].startswith("image:")
    for name in ("bright", "brighter", "last"):
        assert (rows[name]["outcome"], rows[name]["label"]) == ("found", 1)
    for name in ("apart", "alone", "white", "broken"):
        assert (rows[name]["white_queries"], rows[name]["png"]) == (0, None)


def test_a_found_image_is_recorded_as_it_is(bench: Bench, data: Dataset) -> None:
    plan = bench.go(Threshold(BORDER), Threshold(120))
    samples = {item.path: item for item in data.samples("x", "test")}
    for name in ("bright", "brighter", "dark"):
        row = bench.rows(plan)[name]
        image = np.asarray(PILImage.open(io.BytesIO(row["png"])))
        seed = np.asarray(PILImage.open(io.BytesIO(data.read(samples[f"{name}.png"]))))
        mean = image.mean()
        assert 120 < mean <= BORDER
        assert (row["white_class"], row["black_class"]) == (0, 1)
        assert row["white_margin"] == pytest.approx(2 * (BORDER - mean), abs=1e-3)
        assert row["black_margin"] == pytest.approx(2 * (mean - 120), abs=1e-3)
        measured = distance(image, seed)
        said = {key: row[key] for key in ("l2", "linf", "psnr", "ssim")}
        assert said == pytest.approx({key: getattr(measured, key) for key in said})
        assert (row["float_psnr"], row["float_ssim"]) == (row["psnr"], row["ssim"]), "it was a place on the lattice"
        assert 0 < row["first_white"] <= row["white_queries"]
        assert 0 < row["first_gradients"] <= row["gradients"]
        assert row["source"] == samples[f"{name}.png"].source


def test_what_the_first_kept_image_had_cost_is_told_apart(bench: Bench) -> None:
    plan = bench.go(Threshold(BORDER), Threshold(120), searcher="difffinder_cw c=1 lr=0.004 iterations=40")
    for name in ("bright", "brighter"):
        row = bench.rows(plan)[name]
        assert row["outcome"] == "found"
        assert (row["black_queries"], row["gradients"]) == (40, 40)
        assert 1 < row["first_black"] == row["first_gradients"] < 40


def test_images_that_are_no_seeds_are_recorded_where_no_other_is(bench: Bench) -> None:
    rows = bench.rows(bench.go(Threshold(-1), Threshold(300)))
    assert set(rows) == {*GREYS, "broken", "last"}
    assert {row["outcome"] for row in rows.values()} == {"pre_existing", None}


def test_seeds_may_have_to_be_right(bench: Bench) -> None:
    rows = bench.rows(bench.go(Threshold(BORDER), Threshold(120), seeds="agree_and_correct"))
    assert (rows["brighter"]["outcome"], rows["brighter"]["label"]) == ("incorrect", 1)
    assert rows["dark"]["outcome"] == "incorrect"
    assert rows["bright"]["outcome"] == rows["last"]["outcome"] == "found"


def test_another_rule_is_another_search_of_the_same_seeds(bench: Bench) -> None:
    plans = [bench.go(Threshold(BORDER), Threshold(120), seeds=rule) for rule in ("agree", "agree_and_correct")]
    assert {cell.key for cell in plans[0].cells} == {cell.key for cell in plans[1].cells}
    assert plans[0].searches[0].key != plans[1].searches[0].key


def test_equal_models_are_searched_in_vain(bench: Bench) -> None:
    rows = bench.rows(bench.go(Threshold(BORDER), Threshold(BORDER)))
    outcomes = {name: row["outcome"] for name, row in rows.items() if row["error"] is None}
    assert set(outcomes.values()) == {"not_found"}
    assert min(rows[name]["white_queries"] for name in outcomes) > 0


def test_nothing_is_searched_twice(bench: Bench) -> None:
    plan = bench.go(Threshold(BORDER), Threshold(120))
    before = bench.rows(plan)
    white, black = Threshold(BORDER), Threshold(120)
    bench.go(white, black)
    assert (white.asked, black.asked) == (0, 0)
    assert bench.rows(plan) == before


@pytest.mark.parametrize("answered", [0, 1, 5])
def test_a_search_goes_on_where_an_endpoint_died(bench: Bench, tmp_path: Path, data: Dataset, answered: int) -> None:
    whole = Bench(tmp_path / "whole", data)
    wanted = whole.rows(whole.go(Threshold(BORDER), Threshold(120)))
    black = Threshold(120)

    def die() -> None:
        black.until = black.asked + answered

    with pytest.raises(EndpointUnavailable, match="nobody answers"):
        bench.go(Threshold(BORDER), black, die=die)
    black = Threshold(120)
    plan = bench.go(Threshold(BORDER), black)
    assert black.asked > 0
    found = bench.rows(plan)
    assert found.keys() == wanted.keys()
    for name, row in found.items():
        assert {**row, "seconds": 0} == {**wanted[name], "seconds": 0}


def test_what_was_under_way_when_an_endpoint_died_is_recorded(bench: Bench) -> None:
    black = Threshold(120)

    def die() -> None:
        black.until = black.asked

    with pytest.raises(EndpointUnavailable):
        bench.go(Threshold(BORDER), black, die=die)
    (folder,) = (bench.store.root / "searches").glob("*/*")
    rows = bench.store.searches.read(folder.name).to_pylist()
    cut = [row for row in rows if row["error"] == "endpoint:unavailable"]
    assert {row["sample"] for row in cut} == {"alone.png", "bright.png", "brighter.png", "dark.png"}, "two batches"
    assert all(row["outcome"] is None and "nobody answers" in row["detail"] for row in cut)
