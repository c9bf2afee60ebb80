from pathlib import Path

import jsonschema
import pytest
import yaml

from harness.errors import SuiteError
from harness.spec.load import load_suite
from harness.spec.schema import suite_schema
from harness.spec.suite import DataSpec
from harness.spec.thresholds import AtFprThreshold, CalibratedThreshold, FixedThreshold

SUITES = Path(__file__).parents[3] / "suites"

GOOD = """\
name: demo
data:
  d: {layout: miniature}
models: [dif.*]
tasks:
  - kind: detection
    data: d
    degradations: [none, {jpeg: {quality: 65}}]
    threshold: {at_fpr: {fpr: 0.05, split: val}}
"""


def load(folder: Path, text: str, *settings: str) -> object:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, settings, {})


def test_a_suite_is_frozen_and_normalised(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, GOOD), (), {})
    task = suite.tasks[0]
    assert task.degradations[1].startswith("jpeg quality=65 ")
    assert task.threshold == AtFprThreshold(fpr=0.05, split="val")
    with pytest.raises(ValueError, match="frozen"):
        suite.name = "other"  # type: ignore[misc]


def _write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models: [dif.*]", "modles: [dif.*]", r"suite.yaml:4: modles: .*Did you mean 'models'"),
        ("    data: d", "    dta: d", r"suite.yaml:7: .*dta.*Did you mean 'data'"),
        ("layout: miniature", "layout: miniatur", r"suite.yaml:3: data.d.layout"),
        ("data: d\n", "data: e\n", r"asks for data 'e'"),
        ("name: demo", "name: ../evil", r"suite.yaml:1: name"),
        ("quality: 65", "quality: 650", r"suite.yaml:8"),
        ("jpeg", "jpg", r"suite.yaml:8.*Did you mean 'jpeg'"),
        ("[none, ", "[", r"`none` must be among"),
        ("split: val", "split: test", r"suite.yaml:9"),
        ("fpr: 0.05", "fpr: 5", r"suite.yaml:9"),
        ("layout: miniature", "layout: genimage", r"needs a root"),
        ("layout: miniature", "layout: miniature, root: others", r"suite.yaml:3: data.d: .*one of other, attribution"),
        ("[dif.*]", "[DIF]", r"architecture.tag"),
    ],
)
def test_complaints_stand_at_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_settings_override_the_file(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, GOOD), ["seed=7", "tasks.0.threshold.fixed=0.5"][:1], {})
    assert suite.seed == 7
    suite = load_suite(_write(tmp_path, GOOD), ["tasks.0.threshold={fixed: 0.5}"], {})
    assert suite.tasks[0].threshold == FixedThreshold(value=0.5)
    suite = load_suite(_write(tmp_path, GOOD), ["tasks.0.threshold=calibrated"], {})
    assert suite.tasks[0].threshold == CalibratedThreshold()


def test_data_falls_back_where_the_root_is_empty() -> None:
    spec = DataSpec(layout="genimage", root="", otherwise=DataSpec(layout="miniature"))
    assert spec.resolved().layout == "miniature"
    assert DataSpec(layout="genimage", root="/x", otherwise=DataSpec(layout="miniature")).resolved().root == "/x"


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_suites_are_valid_and_fit_their_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_suite(path, (), {"DISCERN_DATA": "/data"})
    schema = yaml.safe_load((SUITES / "suite.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_schema_is_generated() -> None:
    assert (SUITES / "suite.schema.json").read_text(encoding="utf-8") == suite_schema(), (
        "Run: uv run harness schema > suites/suite.schema.json"
    )
