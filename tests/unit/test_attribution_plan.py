"""Planning and running a task `attribution` on real files, with scripted attributors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PILImage

from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.errors import CardError, SuiteError
from harness.events import Silent
from harness.models import expand, open_models
from harness.plan import Plan, make_plan
from harness.run import Asked, run
from harness.spec.suite import DataSpec, Suite

CLASSES = ("nature", "gan", "vq", "flow")
COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two splits; `flow` is not in val."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    lines = ["path,label,subset,split,source"]
    for split, subsets in (("val", CLASSES[:3]), ("test", CLASSES)):
        for subset in subsets:
            (folder / split / subset).mkdir(parents=True)
            for index in range(COUNT):
                path = f"{split}/{subset}/{index}.png"
                PILImage.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / path)
                lines.append(f"{path},{int(subset != 'nature')},{subset},{split},{split}/{index}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


def model(name: str, **card: Any) -> dict[str, Any]:
    said = {"name": name, "task": "attribution", "classes": CLASSES[:3], "heads": [], **card}
    return {"name": name, "endpoint": f"scripted:{json.dumps({'card': said, 'rule': 'hash'})}", "options": {"batch": 4}}


def said(models: list[dict[str, Any]], *tasks: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "who",
        "data": {"d": {"layout": "manifest", "root": "table.csv"}},
        "models": models,
        "tasks": [{"kind": "attribution", "data": "d", **task} for task in tasks],
        "resamples": 100,
    }


@pytest.fixture(scope="module")
def data(root: Path) -> Dataset:
    return open_dataset("d", DataSpec(layout="manifest", root="table.csv"), root, root / "cache", Silent())


def plan(data: Dataset, listed: list[dict[str, Any]], **task: Any) -> Plan:
    suite = Suite.model_validate(said(listed, task))
    with open_models(expand(suite.models, Path())) as opened:
        return make_plan(suite, opened, {"d": data})


KNOWN = {"subsets": list(CLASSES[:3])}


def test_the_calibration_split_is_asked_too_but_clean(data: Dataset) -> None:
    found = plan(data, [model("a.b")], degradations=["none", "jpeg quality=65"], **KNOWN)
    asked = [(cell.split, cell.subset, cell.degradation != "none") for cell in found.cells]
    tests = [("test", name, changed) for name in CLASSES[:3] for changed in (False, True)]
    assert sorted(asked) == sorted([*tests, *(("val", name, False) for name in CLASSES[:3])])


def test_without_calibration_the_test_alone_is_asked(data: Dataset) -> None:
    found = plan(data, [model("a.b")], calibration=None)
    assert [(cell.split, cell.subset) for cell in found.cells] == [("test", name) for name in sorted(CLASSES)]


@pytest.mark.parametrize(
    ("models", "task", "message"),
    [
        ([model("a.b")], {}, r"calibration: expected images of split val, got none of flow"),
        (
            [model("a.b")],
            {"subsets": ["gan"]},
            r"a\.b: expected two tested sources or more that it knows, got \['gan'\]",
        ),
        ([model("a.b", classes=("gan",))], KNOWN, r"a\.b: expected two sources or more to tell apart, got \['gan'\]"),
        (
            [model("a.b", task="detection", classes=(), heads=[{"name": "fake"}])],
            {**KNOWN, "models": ["a.b"]},
            "expected an attributor",
        ),
        ([model("a.b")], {"methods": ["a.*"], "baselines": ["c.*"], **KNOWN}, r"'c\.\*', which matches none"),
        ([model("a.b")], {"subsets": ["flw"]}, "Did you mean 'flow'"),
    ],
)
def test_what_can_not_be_told_is_refused_before_anything_is_asked(
    data: Dataset, models: list[dict[str, Any]], task: dict[str, Any], message: str
) -> None:
    with pytest.raises((CardError, SuiteError), match=message):
        plan(data, models, **task)


def test_from_suite_to_report(root: Path, tmp_path: Path) -> None:
    models = [model("mani.x_s0"), model("mani.x_s1"), model("base.x"), model("open.x", classes=CLASSES[:2])]
    choice = {"methods": ["mani.*"], "baselines": ["base.*"]}
    suite = root / "suite.yaml"
    other = {"name": "again", "calibration": None, "subsets": ["gan", "nature"]}
    suite.write_text(yaml.safe_dump(json.loads(json.dumps(said(models, {**KNOWN, **choice}, other)))))
    finished = run(Asked(suite=suite, out=tmp_path), Silent())
    assert finished.reasons == ()
    text = (finished.folder / "report.md").read_text()
    for words in ("mani.x minus base.x", "Unseen generators", "Beside other tasks", "Answers of mani.x"):
        assert words in text
    again = run(Asked(suite=suite, out=tmp_path), Silent())
    assert (again.folder / "report.json").read_bytes() == (finished.folder / "report.json").read_bytes()
