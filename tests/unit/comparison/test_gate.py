"""Gates: what fails and what passes, what CI reads, and the commands' exit codes."""

import json
import math
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from typer.testing import CliRunner

from harness import load_run
from harness.baselines import open_side, write_baseline
from harness.cli import app
from harness.compare import compare
from harness.comparison.change import Change, Place
from harness.errors import HarnessError, RunInvalid, StoreError
from harness.events import Silent
from harness.gate import Outcome, judge
from harness.report.comparison import gate_report
from harness.report.continuous import benchmarks, junit
from harness.report.markdown import markdown
from harness.spec.gate import parse_expectation
from harness.stats import Estimate, holm
from harness.store.runs import RunStore
from tests.unit.comparison.runs_by_hand import DETECTION, DETECTOR, detected, loaded, write_run

PLACE = Place("t", "m.x", "none")


def moved(figure: str, value: float, p: float = math.nan, n: int = 1000, subset: str = "", **more: object) -> Change:
    place = Place("t", "m.x", "none", subset)
    return Change(place, figure, 0.9, 0.9 + value, Estimate.bare(value, n), p, **more)  # type: ignore[arg-type]


def judged(text: str, *changes: Change) -> list[str]:
    return [outcome.judged for outcome in judge([parse_expectation(text)], changes)]


@pytest.mark.parametrize(
    ("text", "change", "verdict"),
    [
        ("accuracy: -0.5pt", moved("accuracy", -0.02, 0.001), "failed"),
        ("accuracy: -0.5pt", moved("accuracy", -0.02, 0.2), "passed"),
        ("accuracy: -0.5pt", moved("accuracy", -0.004, 0.001), "passed"),
        ("accuracy: -0.5pt", moved("accuracy", 0.02, 0.001), "passed"),
        ("accuracy: -0.5pt", moved("accuracy", -0.02, 0.09), "failed"),
        ("auroc: -0.01", moved("auroc", -0.02, 0.01), "failed"),
        ("p99: +10%", moved("p99", 0.2, 0.01), "failed"),
        ("p99: +10%", moved("p99", -0.2, 0.01), "passed"),
        ("p99: +10%", moved("p99", 0.2, note="measured on another machine"), "skipped"),
        ("flips: 0", moved("flips", 0.001), "failed"),
        ("flips: 0", moved("flips", 0.0), "passed"),
        ("flips: 1", moved("flips", 0.001), "passed"),
        ("flips: 1%", moved("flips", 0.011), "passed"),
        ("flips: 1%", moved("flips", 0.03), "failed"),
        ("flips: 0%", moved("flips", 0.001), "failed"),
        ("agreement: 99%", moved("agreement", 0.985), "passed"),
        ("agreement: 99%", moved("agreement", 0.97), "failed"),
        ("failures: 0", moved("failures", 0.002), "failed"),
        ("accuracy: -0.5pt", moved("accuracy", 0.0, identical=True), "passed"),
    ],
)
def test_a_gate_fails_beyond_the_bound_and_beyond_chance(text: str, change: Change, verdict: str) -> None:
    assert judged(text, change) == [verdict]


def test_p_values_of_one_gate_hold_together() -> None:
    changes = [moved("accuracy", -0.02, p) for p in (0.01, 0.03, 0.08)] + [moved("flips", 0.02)]
    outcomes = judge([parse_expectation("accuracy: -0.5pt"), parse_expectation("flips: 1%")], changes)
    one_sided = [0.005, 0.015, 0.04, binomtest(20, 1000, 0.01, "greater").pvalue]
    assert [outcome.p for outcome in outcomes] == pytest.approx(holm(one_sided))


def test_subsets_are_judged_where_they_are_named() -> None:
    changes = [moved("accuracy", -0.02, 0.3), moved("accuracy", -0.2, 0.001, subset="gan")]
    assert judged("accuracy: -1pt", *changes) == ["passed"]
    assert judged("accuracy per subset: -1pt", *changes) == ["failed"]
    with pytest.raises(HarnessError, match="per subset"):
        judged("accuracy per subset: -1pt", changes[0])
    with pytest.raises(HarnessError, match="a figure auroc in both runs"):
        judged("auroc: -0.01", *changes)


def outcomes_of(model: str = "m.x", why: str = "why") -> Sequence[Outcome]:
    place = Place("t", model, "none")
    return [Outcome("flips: 0", place, math.nan, judged, why) for judged in ("passed", "failed", "skipped")]


@given(st.text(), st.text())
def test_junit_is_xml_whatever_models_are_called(model: str, why: str) -> None:
    suite = ElementTree.fromstring(junit(outcomes_of(model, why), "gate"))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [len(case.findall("failure")) for case in suite] == [0, 1, 0]


def test_a_summary_leads_with_what_failed() -> None:
    text = markdown(gate_report(outcomes_of("<script>"), "run", "base"))
    assert "**FAILED: 1 failed, 1 skipped, 1 passed**" in text
    assert text.index("FAILED ") < text.index("| passed")
    assert "<script>" not in text


def test_benchmarks_are_parted_by_what_is_better() -> None:
    changes = [
        moved("accuracy", -0.02),
        moved("accuracy", -0.2, subset="gan"),
        Change(PLACE, "median", 0.01, 0.012, Estimate.bare(0.2, 100)),
        Change(PLACE, "flips", math.nan, 3, Estimate.of_rate(3, 10)),
    ]
    found = {end: json.loads(text) for end, text in benchmarks(changes).items()}
    assert found["bigger"] == [{"name": "t/m.x/none: accuracy", "unit": "%", "value": 88.0}]
    assert [(item["unit"], item["value"]) for item in found["smaller"]] == [("ms", 12.0), ("images", 3)]


def harness(*words: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"GITHUB_STEP_SUMMARY": None})
    return result.exit_code, result.output, result.exception


REAL, FAKE = [0.1] * 40, [0.9] * 40


def test_a_run_is_gated_against_its_baseline(tmp_path: Path) -> None:
    detected(tmp_path / "out", "old", {"nature": REAL, "gan": FAKE})
    detected(tmp_path / "out", "new", {"nature": REAL, "gan": [*FAKE[:20], *REAL[:20]]})
    base, out = tmp_path / "base", ("--out", tmp_path / "out")
    assert harness("baseline", "old", "--to", base, *out)[0] == 0
    files = {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}
    assert harness("baseline", "old", "--to", base, *out)[0] == 0
    assert files == {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}

    def gated(run: str, *words: object) -> int:
        return harness("gate", run, "--baseline", base, *out, *words)[0]

    fall = ("--expect", "accuracy: -0.5pt")
    assert gated("old", *fall, "--expect", "flips: 0") == 0
    report, summary, marks = tmp_path / "gate.xml", tmp_path / "summary.md", tmp_path / "marks"
    summary.write_text("# Before\n", encoding="utf-8")
    assert gated("new", *fall, "--junit", report, "--summary", summary, "--benchmark", marks) == 1
    assert ElementTree.parse(report).getroot()[0].get("failures") == "1"
    assert summary.read_text().startswith("# Before\n# Gate: new")
    assert "100.00% -&gt; 75.00%" in summary.read_text()
    assert json.loads((tmp_path / "marks.bigger.json").read_text())[0]["value"] == 75.0
    assert gated("new", "--expect", "accuracy: -30pt") == 0
    code, text, _ = harness("compare", base, tmp_path / "out/runs/new", *out, "--to", tmp_path / "report")
    assert (code, "3 worse, 0 better" in text) == (0, True), text
    assert (tmp_path / "report/report.html").is_file()


def test_what_can_not_be_gated_says_why(tmp_path: Path) -> None:
    old = detected(tmp_path, "old", {"nature": REAL, "gan": FAKE})
    out = ("--out", tmp_path)
    gate = ("gate", "old", "--baseline", "old", *out)
    assert "expectations, got none" in str(harness(*gate)[2])
    assert "a figure median in both runs" in str(harness(*gate, "--expect", "median: +5%")[2])
    write_run(tmp_path, "bad", old.info.cells, verdict="INVALID: t: nothing was asked")
    error = harness("gate", "bad", "--baseline", "old", *out, "--expect", "flips: 0")[2]
    assert isinstance(error, RunInvalid)
    write_run(tmp_path, "cut", old.info.cells, status="interrupted")
    error = harness("baseline", "cut", "--to", tmp_path / "b", *out)[2]
    assert isinstance(error, StoreError)
    assert "harness resume cut" in str(error)


def test_a_baseline_replaces_baselines_alone(tmp_path: Path) -> None:
    detected(tmp_path / "out", "old", {"nature": REAL, "gan": FAKE})
    precious = tmp_path / "precious" / "file"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")
    for folder in (precious.parent, tmp_path / "out"):
        error = harness("baseline", "old", "--to", folder, "--out", tmp_path / "out")[2]
        assert isinstance(error, StoreError), folder
    assert precious.read_text() == "mine"


def test_a_suites_own_gate_holds_and_times_are_gated(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for run, slower in (("old", 1.0), ("new", 1.5)):
        seconds = 0.01 * slower * (1 + random.gamma(2, 0.05, (4, 200)))
        side = loaded(tmp_path, run, seconds.tolist())
        spec = {**side.info.spec, "gate": {"median": "+10%"}}
        RunStore(tmp_path).save(side.info.model_copy(update={"spec": spec}))
    gate = ("gate", "new", "--baseline", "old", "--out", tmp_path)
    assert harness(*gate)[0] == 1
    assert harness(*gate, "--expect", "median: +60%", "--to-pytest-benchmark", tmp_path / "times.json")[0] == 0
    assert json.loads((tmp_path / "times.json").read_text())["benchmarks"][0]["group"] == "l"
    assert harness("compare", "old", "new", "--aa", "--out", tmp_path)[0] == 0
    assert len(list((tmp_path / "noise").iterdir())) == 1


def test_a_benchmark_of_the_baseline_that_did_not_run_fails(tmp_path: Path) -> None:
    ran = [{"fullname": f"t.py::test_{name}", "stats": {"median": 0.1, "iqr": 0.001, "rounds": 50}} for name in "ab"]
    for name, some in (("both", ran), ("one", ran[:1])):
        (tmp_path / name).write_text(json.dumps({"benchmarks": some}), encoding="utf-8")
    detected(tmp_path, "r", {"nature": REAL, "gan": FAKE})
    told = ("--out", tmp_path, "--pytest-benchmark")
    assert harness("baseline", "r", "--to", tmp_path / "base", *told, tmp_path / "both")[0] == 0
    gate = ("gate", "r", "--baseline", tmp_path / "base", "--expect", "median: +10%", *told)
    assert harness(*gate, tmp_path / "both")[0] == 0
    code, said, _ = harness(*gate, tmp_path / "one")
    assert (code, "FAILED  pytest-benchmark/t.py::test_b  present" in said) == (1, True)
    assert harness(*gate, tmp_path / "one", "--allow-missing")[0] == 0


def test_what_the_baseline_alone_has_fails(tmp_path: Path) -> None:
    whole = detected(tmp_path, "whole", {"nature": REAL, "gan": FAKE, "vq": FAKE})
    cells = dict(whole.info.cells)
    few = write_run(tmp_path, "few", {name: key for name, key in cells.items() if "/vq/" not in name})
    others = {name.replace("m.x", "m.y"): key for name, key in cells.items()}
    cards = {"m.x": DETECTOR, "m.y": DETECTOR}
    more = {"kind": "detection", "name": "u", "data": "d"}
    write_run(tmp_path, "two", {**cells, **others, "u/m.x/gan/test/none/batch 8": cells["t/m.x/gan/test/none/batch 8"]},
              [DETECTION, more], cards)  # fmt: skip
    found = compare(open_side("two", tmp_path), few, Silent())
    assert set(map(str, found.missing)) == {"u", "t/m.y", "t/m.x/vq/test/none"}
    assert sum(note.endswith("is in two alone.") for note in found.notes) == 3
    gate = ("gate", "few", "--baseline", "two", "--out", tmp_path, "--expect", "flips: 0")
    report = tmp_path / "gate.xml"
    code, text, _ = harness(*gate, "--expect", "median: +5%", "--junit", report)
    assert (code, "FAILED  t/m.y  present" in text) == (1, True), text
    assert ElementTree.parse(report).getroot()[0].get("failures") == "3"
    assert harness(*gate, "--allow-missing")[0] == 0


def test_a_run_without_its_records_says_how_to_copy_it(tmp_path: Path) -> None:
    old = detected(tmp_path / "a", "old", {"nature": REAL, "gan": FAKE})
    write_run(tmp_path / "b", "new", old.info.cells)
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "b/runs/new/run.json", tmp_path / "bare")
    for run in (tmp_path / "b/runs/new", tmp_path / "bare"):
        words = ("gate", run, "--baseline", tmp_path / "a/runs/old", "--expect", "failures: 0", "--out", tmp_path)
        error = harness(*words)[2]
        assert isinstance(error, StoreError)
        assert "Copy the run with its records: harness baseline" in str(error)


def test_a_baseline_is_replaced_after_the_new_one_is_there(tmp_path: Path) -> None:
    base = tmp_path / "base"
    write_baseline(detected(tmp_path / "out", "old", {"nature": REAL, "gan": FAKE}), base)
    kept = {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}
    new = detected(tmp_path / "out", "new", {"nature": REAL})
    gone = write_run(tmp_path / "elsewhere", "gone", new.info.cells)
    with pytest.raises(StoreError, match="Copy the run"):
        write_baseline(gone, base)
    assert kept == {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}
    write_baseline(new, base)
    (part,) = base.rglob("*.parquet")
    assert part.parent.name in new.info.cells.values()
    assert load_run(base).to_pandas()["subset"].unique().tolist() == ["nature"]


ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def test_the_tracked_baseline_is_what_the_workflow_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the workflow says is run here, with the baseline in the place of the run."""
    monkeypatch.chdir(ROOT)
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["gate"]["steps"]
    text = next(step["run"] for step in steps if "harness gate" in step.get("run", ""))
    words = shlex.split(text.partition("harness gate ")[2].replace("\\\n", " "))
    folder = words[words.index("--baseline") + 1]
    expected = [f"--expect={words[place + 1]}" for place, word in enumerate(words) if word == "--expect"]
    assert len(expected) == 3
    code, said, _ = harness("gate", folder, "--baseline", folder, *expected)
    assert (code, said.strip()) == (0, "PASSED: 12 passed")
    assert sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) < 300_000
