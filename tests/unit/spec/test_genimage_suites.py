"""The shipped suites of detectors plan what they say, on the miniature and a scripted model."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data import open_dataset
from harness.data.miniature.photographs import tier
from harness.events import Silent
from harness.images.degrade import parse_degradation
from harness.models import expand, open_models
from harness.plan import Plan, make_plan
from harness.spec.load import load_suite
from harness.spec.suite import Suite

MODEL = {"name": "scripted.one", "endpoint": "scripted:" + json.dumps({"card": {"name": "scripted.one"}})}


def load(suites: Path, name: str, **environ: str) -> Suite:
    return load_suite(suites / f"{name}.yaml", ["models=" + json.dumps([MODEL])], environ)


def plan(suite: Suite, suites: Path, out: Path) -> Plan:
    datasets = {
        name: open_dataset(name, spec, suites, out / "manifests", Silent()) for name, spec in suite.data.items()
    }
    with open_models(expand(suite.models, suites)) as models:
        return make_plan(suite, models, datasets)


def asked(found: Plan) -> set[tuple[str, str, str]]:
    return {(cell.task, cell.subset, cell.degradation) for cell in found.cells}


def test_content_generalisation_asks_the_same_of_both_contents(suites: Path, out: Path) -> None:
    found = plan(load(suites, "content_generalisation"), suites, out)
    same, other = ({(c.subset, c.degradation) for c in found.of(task)} for task in ("same_content", "other_content"))
    assert same == other
    assert len(same) == 9
    assert {cell.images for cell in found.of("same_content")} == {45}
    assert {cell.images for cell in found.of("other_content")} == {72}
    assert not {c.key for c in found.of("same_content")} & {c.key for c in found.of("other_content")}


@pytest.mark.parametrize("generator", ["gan", "vq"])
def test_degraded_images_are_of_the_generator_trained_on(suites: Path, out: Path, generator: str) -> None:
    suite = load(suites, "genimage_degraded", GENIMAGE_TRAINED_ON=generator)
    (task,) = suite.tasks
    cells = asked(plan(suite, suites, out))
    assert cells == {("degraded", name, item) for name in ("nature", generator) for item in task.degradations}
    assert task.trained_on == generator


def test_every_published_condition_is_tested(suites: Path) -> None:
    suite = load(suites, "genimage_degraded")
    (task,) = suite.tasks
    assert {claim.degradation for claim in suite.report.claims} < set(task.degradations)
    grid = [f"jpeg quality={quality}" for quality in (95, 90, 50, 30)]
    blurs = [f"blur sigma={sigma}" for sigma in (2, 4)]
    both = [f"{blur} + {jpeg}" for blur in blurs for jpeg in grid]
    assert {parse_degradation(item).id for item in (*grid, *blurs, *both)} < set(task.degradations)


def test_degradations_change_an_image_of_the_miniature(suites: Path) -> None:
    image = next(tier("test")).pixels
    (task,) = load(suites, "genimage_degraded").tasks
    made = {item: parse_degradation(item)(image, 0) for item in task.degradations if item != "none"}
    assert len({picture.tobytes() for picture in made.values()}) == len(made)
    assert image.tobytes() not in {picture.tobytes() for picture in made.values()}
    assert min(min(picture.shape[:2]) for picture in made.values()) == 64


def test_harmonised_figures_stand_beside_the_same_raw_ones(suites: Path, out: Path) -> None:
    suite = load(suites, "genimage_harmonised")
    found = plan(suite, suites, out)
    raw, common = ({c.key for c in found.of(task) if c.degradation == "none"} for task in ("jpeg", "common_size"))
    assert raw == common
    assert len(raw) == 9
    assert len({cell.key for cell in found.cells}) == 27
    assert all(task.audit for task in suite.tasks)


def test_a_common_size_leaves_the_miniature_as_it_is(suites: Path) -> None:
    _, task = load(suites, "genimage_harmonised").tasks
    image = next(tier("test")).pixels
    np.testing.assert_array_equal(parse_degradation(task.harmonise.id)(image, 0), image)
