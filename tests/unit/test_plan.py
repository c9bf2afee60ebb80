import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.errors import SuiteError
from harness.events import Silent
from harness.models import Model, expand, open_models
from harness.names import select
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


def asked_of(change: Callable[[Model], Model], data: Dataset, nonce: str = "") -> set[str]:
    asked = suite()
    with open_models(expand(asked.models, Path())) as models:
        changed = {name: change(model) for name, model in models.items()}
        return keys(make_plan(asked, changed, {"d": data}, nonce=nonce))


def weights(digest: str) -> Callable[[Model], Model]:
    return lambda model: replace(model, info=model.info.model_copy(update={"weights_sha256": digest}))


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
    unknown = weights("")
    assert asked_of(unknown, data, "a") == asked_of(unknown, data, "a")
    assert not asked_of(unknown, data, "a") & asked_of(unknown, data, "b")


def test_reals_of_other_generators_are_left_out(data: Dataset) -> None:
    found = plan(suite({"subsets": ["gan"]}), data)
    assert {cell.subset for cell in found.cells} == {"gan", "nature:gan"}


def test_a_wildcard_that_matches_nothing_names_the_nearest(data: Dataset) -> None:
    with pytest.raises(SuiteError, match=r"'gam', which matches none\. Did you mean 'gan'\?$"):
        plan(suite({"subsets": ["gam"]}), data)


def test_a_split_without_images_names_those_that_are_there(data: Dataset) -> None:
    with pytest.raises(SuiteError, match=r"images of split train, got none\. Splits: \['test', 'val'\]"):
        plan(suite({"split": "train"}), data)


@pytest.mark.parametrize(
    "change",
    [
        weights("0" * 64),
        lambda model: replace(model, card=model.card.model_copy(update={"summary": "another card"})),
        lambda model: replace(model, transport="http://elsewhere:8000/one"),
        lambda model: replace(model, info=model.info.model_copy(update={"platform": "another server"})),
    ],
    ids=["weights", "card", "transport", "platform"],
)
def test_a_model_that_differs_in_one_thing_has_other_keys(change: Callable[[Model], Model], data: Dataset) -> None:
    same = asked_of(lambda model: model, data)
    assert same == keys(plan(suite(), data))
    assert not same & asked_of(change, data)


def test_no_two_cells_share_a_key_or_a_name(data: Dataset) -> None:
    task = {"threshold": {"calibrated": {"split": "val"}}, "degradations": ["none", {"blur": {"sigma": 1}}]}
    found = plan(suite(task), data)
    assert len({cell.name for cell in found.cells}) == len(keys(found)) == len(found.cells) == 4 * 2 + 4


@pytest.mark.parametrize(
    "other",
    [
        suite({"name": "another"}),
        suite({"degradations": ["none"], "threshold": {"fixed": 0.5}, "audit": False}),
        suite(options={"batch": 3, "timeout_s": 7, "retries": 1, "concurrency": 1}),
        suite(name="another", description="words", max_failures=0.5),
    ],
    ids=["task", "threshold", "patience", "words"],
)
def test_what_no_answer_depends_on_leaves_the_keys_alone(other: Suite, data: Dataset) -> None:
    assert plan(other, data).digest == plan(suite(), data).digest


def test_the_limit_is_part_of_the_question_however_it_is_put(data: Dataset) -> None:
    sampled = suite(data={"d": {"layout": "miniature", "sample": {"per_subset": 2}}})
    assert keys(plan(sampled, data)) == keys(plan(suite(), data, limit=2)) != keys(plan(suite(), data))


def test_harmonising_to_a_condition_that_is_there_adds_none(data: Dataset) -> None:
    harmonise = {"codec": "png", "size": 8}
    (one,) = {cell.degradation for cell in plan(suite({"harmonise": harmonise}), data).cells} - {"none"}
    again = plan(suite({"degradations": ["none", one], "harmonise": harmonise}), data)
    assert keys(again) == keys(plan(suite({"harmonise": harmonise}), data))
    assert len(again.cells) == 2 * 4


def test_a_threshold_at_a_false_positive_rate_asks_its_split_too(data: Dataset) -> None:
    found = plan(suite({"threshold": {"at_fpr": {"fpr": 0.1, "split": "val"}}}), data)
    assert {(cell.split, cell.degradation) for cell in found.cells} == {("test", "none"), ("val", "none")}
    assert {cell.subset for cell in found.cells if cell.split == "val"} == {"gan", "vq", "nature:gan", "nature:vq"}


def test_a_model_that_is_not_there_names_the_nearest(data: Dataset) -> None:
    with pytest.raises(SuiteError, match=r"task t: models: expected a match, got 'scripted\.on', .*'scripted\.one'\?$"):
        plan(suite({"models": ["scripted.on"]}), data)


@given(st.lists(st.sampled_from(["a*", "*b", "??", "ab", "*"]), min_size=1), st.permutations(["ab", "aa", "bb", "a"]))
def test_wildcards_keep_the_order_of_the_names_and_repeat_none(patterns: list[str], names: list[str]) -> None:
    chosen = select(patterns, names, "here")
    assert chosen == [name for name in names if name in chosen]
    assert set(chosen) == {name for pattern in patterns for name in select([pattern], names, "here")}


def test_wildcards_mind_capitals() -> None:
    with pytest.raises(SuiteError, match=r"here: expected a match, got 'GAN', which matches none"):
        select(["gan", "GAN"], ["gan"], "here")
