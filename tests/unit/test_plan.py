import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.errors import SuiteError
from harness.events import Silent
from harness.models import expand, open_models
from harness.plan import Plan, make_plan
from harness.spec.suite import DataSpec, Suite


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    for split in ("val", "test"):
        for name in ("gan", "vq"):
            for kind in ("real", "fake"):
                folder = tmp_path / "images" / split / name / kind
                folder.mkdir(parents=True)
                for index in range(4):
                    PILImage.fromarray(np.full((8, 8, 3), index, np.uint8)).save(folder / f"{index}.png")
    return open_dataset("d", DataSpec(layout="real_fake", root="images"), tmp_path, tmp_path / "cache", Silent())


def suite(task: dict[str, Any] | None = None, card: dict[str, Any] | None = None, **changes: Any) -> Suite:
    script = {"card": {"name": "scripted.one", **(card or {})}}
    model = {"name": "scripted.one", "endpoint": f"scripted:{json.dumps(script)}", "options": {"batch": 3}}
    said: dict[str, Any] = {
        "name": "plan",
        "data": {"d": {"layout": "miniature"}},
        "models": [model],
        "tasks": [{"kind": "detection", "name": "t", "data": "d", "degradations": ["none"], **(task or {})}],
    }
    for key, value in changes.items():
        if key == "options":
            model["options"] = value
        else:
            said[key] = value
    return Suite.model_validate(said)


def plan(asked: Suite, data: Dataset, limit: int | None = None, nonce: str = "") -> Plan:
    with open_models(expand(asked.models, Path())) as models:
        return make_plan(asked, models, {"d": data}, limit, nonce)


def keys(found: Plan) -> set[str]:
    return {cell.key for cell in found.cells}


def test_a_cell_for_every_subset_and_condition(data: Dataset) -> None:
    found = plan(suite({"degradations": ["none", {"jpeg": {"quality": 65}}]}), data)
    names = {cell.name for cell in found.cells}
    assert len(names) == len(found.cells) == 2 * 4
    assert {cell.split for cell in found.cells} == {"test"}
    assert found.answers == 2 * 16
    assert {cell.label for cell in found.cells if cell.subset.startswith("nature:")} == {0}


def test_one_key_for_one_question(data: Dataset) -> None:
    assert keys(plan(suite(), data)) == keys(plan(suite(resamples=500, report={"mistakes": 1}), data))


@pytest.mark.parametrize(
    "other",
    [
        suite(card={"summary": "another card"}),
        suite(seed=1),
        suite(options={"batch": 4}),
        suite(data={"d": {"layout": "miniature", "sample": {"per_subset": 2}}}),
        suite(data={"d": {"layout": "miniature", "sample": {"per_subset": 4, "seed": 1}}}),
    ],
)
def test_another_question_has_other_keys(other: Suite, data: Dataset) -> None:
    assert not keys(plan(suite(), data)) & keys(plan(other, data))


def test_another_image_gives_other_keys(data: Dataset, tmp_path: Path) -> None:
    PILImage.new("RGB", (9, 9)).save(tmp_path / "images" / "test" / "gan" / "fake" / "4.png")
    spec = DataSpec(layout="real_fake", root="images")
    changed = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    assert not keys(plan(suite(), data)) & keys(plan(suite(), changed))


def test_harmonising_is_one_more_condition(data: Dataset) -> None:
    task = {"degradations": ["none", {"blur": {"sigma": 1}}]}
    plain, more = plan(suite(task), data), plan(suite({**task, "harmonise": {"codec": "png", "size": 8}}), data)
    assert len(more.cells) == len(plain.cells) * 3 / 2
    assert keys(plain) < keys(more)


def test_a_calibrated_threshold_asks_its_split_too_but_clean(data: Dataset) -> None:
    task = {"threshold": {"calibrated": {"split": "val"}}, "degradations": ["none", {"blur": {"sigma": 1}}]}
    found = plan(suite(task), data)
    calibration = [cell for cell in found.cells if cell.split == "val"]
    assert len(calibration) == 4
    assert {cell.degradation for cell in calibration} == {"none"}


def test_the_smaller_of_two_limits_counts(data: Dataset) -> None:
    sampled = suite(data={"d": {"layout": "miniature", "sample": {"per_subset": 3}}})
    assert {cell.images for cell in plan(sampled, data).cells} == {3}
    assert {cell.images for cell in plan(sampled, data, limit=2).cells} == {2}
    assert {cell.images for cell in plan(sampled, data, limit=99).cells} == {3}


def test_a_nonce_counts_only_where_the_weights_are_unknown(data: Dataset) -> None:
    assert keys(plan(suite(), data, nonce="a")) == keys(plan(suite(), data, nonce="b"))


def test_reals_of_other_generators_are_left_out(data: Dataset) -> None:
    found = plan(suite({"subsets": ["gan"]}), data)
    assert {cell.subset for cell in found.cells} == {"gan", "nature:gan"}


def test_a_wildcard_that_matches_nothing_names_the_nearest(data: Dataset) -> None:
    with pytest.raises(SuiteError, match=r"'gam', which matches none\. Did you mean 'gan'\?$"):
        plan(suite({"subsets": ["gam"]}), data)


def test_a_split_without_images_names_those_that_are_there(data: Dataset) -> None:
    with pytest.raises(SuiteError, match=r"images of split train, got none\. Splits: \['test', 'val'\]"):
        plan(suite({"split": "train"}), data)
