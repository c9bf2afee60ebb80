"""Kinds of task, and variants of a model, as a suite writes them."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from harness.errors import SuiteError
from harness.spec.load import load_suite
from harness.spec.schema import suite_schema
from harness.spec.suite import Suite, VariantSpec
from harness.spec.tasks import ClassificationTask, DetectionTask

GOOD = """\
name: demo
data:
  d: {layout: miniature}
models:
  - name: net.*
    options: {batch: 4}
    variants:
      batch1: {batch: 1}
      plain: {optimisation: none}
      served: {served: true}
tasks:
  - kind: classification
    data: d
"""


def load(folder: Path, text: str = GOOD) -> Suite:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, (), {})


def complaint(folder: Path, old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    with pytest.raises(SuiteError) as caught:
        load(folder, GOOD.replace(old, new))
    return str(caught.value)


def test_a_classification_task_and_what_it_takes_for_granted(tmp_path: Path) -> None:
    (task,) = load(tmp_path).tasks
    assert isinstance(task, ClassificationTask)
    assert (task.name, task.reference, task.models, task.degradations) == (
        "classification",
        "*.tv_float",
        ("*",),
        ("none",),
    )


def test_a_task_without_kind_is_detection(tmp_path: Path) -> None:
    (task,) = load(tmp_path, GOOD.replace("  - kind: classification\n    data", "  - data")).tasks
    assert isinstance(task, DetectionTask)


def test_kinds_stand_side_by_side(tmp_path: Path) -> None:
    tasks = load(tmp_path, GOOD + "  - kind: detection\n    data: d\n").tasks
    assert [type(task) for task in tasks] == [ClassificationTask, DetectionTask]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("clasification", "got 'clasification'. Did you mean 'classification'?"),
        ("detect", "got 'detect'. Did you mean 'detection'?"),
        ("zork", "got 'zork'. Choose from: detection, classification"),
        ("[zork]", "Choose from: detection, classification"),
        ("", "got 'None'. Choose from: detection, classification"),
    ],
)
def test_an_unknown_kind_says_which_there_are(tmp_path: Path, kind: str, said: str) -> None:
    found = complaint(tmp_path, "kind: classification", f"kind: {kind}")
    assert found.startswith(f"{tmp_path / 'suite.yaml'}:12: tasks.0: expected a kind among detection, classification")
    assert said in found
    assert "\n" not in found


def test_an_unknown_threshold_says_which_there_are(tmp_path: Path) -> None:
    found = complaint(tmp_path, "  - kind: classification\n", "  - threshold: orakel\n")
    assert "suite.yaml:12: tasks.0.threshold: expected a kind among card, fixed, " in found
    assert "Did you mean 'oracle'?" in found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    data: d", "    data: d\n    refrence: x", "14: tasks.0.refrence: {known} Did you mean 'reference'?"),
        (
            "    data: d",
            "    data: d\n    degradation: [none]",
            "14: tasks.0.degradation: {known} Did you mean 'degrad",
        ),
        ("    data: d", "    data: d\n    threshold: card", "14: tasks.0.threshold: {known} Choose from: data, degrad"),
        ("{batch: 1}", "{bacth: 1}", "8: models.0.variants.batch1.bacth: {known} Did you mean 'batch'?"),
        ("{batch: 4}", "{batchs: 4}", "6: models.0.options.batchs: {known} Did you mean 'batch'?"),
        ("layout:", "layot: miniature, layout:", "3: data.d.layot: {known} Did you mean 'layout'?"),
        ("    options", "    optoins: 1\n    options", "6: models.0.optoins: {known} Did you mean 'options'?"),
    ],
)
def test_a_misspelt_key_is_pointed_at(tmp_path: Path, old: str, new: str, said: str) -> None:
    key = said.partition(": {")[0].rpartition(".")[2]
    found = complaint(tmp_path, old, new)
    assert f"suite.yaml:{said.format(known=f'expected a known key, got {key!r}.')}" in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{batch: 1}", "{batch: 0}", r"suite.yaml:8: models.0.variants.batch1.batch: expected greater than 0"),
        ("optimisation: none", "optimisation: off", r"suite.yaml:9: .*'all', 'extended', 'basic' or 'none'"),
        ("optimisation: none", "provider: tpu", r"suite.yaml:9: .*provider: expected 'auto', 'cpu' or 'cuda'"),
        ("served: true", "served: true, provider: cpu", r"suite.yaml:10: .*the server decides"),
        ("served: true", "served: true, optimisation: none", r"suite.yaml:10: .*the server decides"),
        ("batch1:", "Batch/1:", r"suite.yaml:8: .*match pattern"),
        ("    data: d", "    data: d\n    degradations: [blur]", r"suite.yaml:14"),
        ("    data: d", "    data: d\n    degradations: [{jpeg: {quality: 5}}]", r"`none` must be among"),
    ],
)
def test_rules(tmp_path: Path, old: str, new: str, said: str) -> None:
    from re import search

    found = complaint(tmp_path, old, new)
    assert search(said, found), found
    assert "\n" not in found


def test_a_list_whose_items_are_all_wrong_is_not_called_empty(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"asks models, and the suite names none; list some under `models`"):
        load(tmp_path, GOOD[: GOOD.index("models")] + "models: []\n" + GOOD[GOOD.index("tasks") :])
    assert "at least 1 item" not in complaint(tmp_path, "net.*", "NET")


def test_variants_of_a_wildcard(tmp_path: Path) -> None:
    (model,) = load(tmp_path).models
    assert model.variants == {
        "batch1": VariantSpec(batch=1),
        "plain": VariantSpec(optimisation="none"),
        "served": VariantSpec(served=True),
    }


def test_a_served_variant_is_of_a_model_in_the_repository(tmp_path: Path) -> None:
    found = complaint(tmp_path, "  - name: net.*\n", "  - name: net.a\n    endpoint: grpc://h:1/m\n")
    assert "suite.yaml:5: models.0: a served variant is of a model in the repository, not of an endpoint" in found
    text = GOOD.replace("net.*", "net.a\n    endpoint: grpc://h:1/m").replace("      served: {served: true}\n", "")
    assert set(load(tmp_path, text).models[0].variants) == {"batch1", "plain"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("classification", "clasification"), ("{batch: 1}", "{bacth: 1}"), ("{batch: 1}", "{batch: 0}")],
)
def test_the_schema_knows_what_the_loader_knows(old: str, new: str) -> None:
    found = list(
        jsonschema.Draft202012Validator(yaml.safe_load(suite_schema())).iter_errors(
            yaml.safe_load(GOOD.replace(old, new, 1) if old else GOOD)
        )
    )
    assert bool(found) == bool(old)
