"""The command line as a user has it: a real process, real images, real models."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.commands import contents, folder_of, harness, write_small


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    return write_small(tmp_path_factory.mktemp("suite"), repository)


@pytest.fixture(scope="module")
def first(suite: Path, out: Path) -> Path:
    return folder_of(harness("run", suite, "--out", out, "--limit", 5))


def test_a_run_leaves_every_report(first: Path) -> None:
    assert {"report.html", "report.md", "report.json"} <= contents(first).keys()
    info = json.loads((first / "run.json").read_text())
    assert info["status"] == "complete"
    assert info["verdict"] == "VALID"
    assert "miniature" in (first / "report.md").read_text()
    board = pd.read_csv(first / "tables" / "small_leaderboard.csv")
    assert board["detector"].str.startswith("dif.miniature/").sum() == 8
    assert board["detector"].str.startswith("baseline:").sum() == 4
    html = (first / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "parity" in html


def test_the_second_run_asks_nothing_and_says_the_same(suite: Path, out: Path, first: Path) -> None:
    parts = sorted((out / "cells").rglob("*.parquet"))
    second = folder_of(harness("run", suite, "--out", out, "--limit", 5))
    assert second != first
    assert contents(second) == contents(first)
    assert sorted((out / "cells").rglob("*.parquet")) == parts


def test_records_that_are_gone_are_asked_for_again(suite: Path, out: Path, first: Path) -> None:
    part = sorted((out / "cells").rglob("*.parquet"))[0]
    part.unlink()
    again = folder_of(harness("run", suite, "--out", out, "--limit", 5))
    assert contents(again) == contents(first)
    assert list(part.parent.glob("*.parquet"))


def test_killed_at_any_moment_it_ends_the_same(suite: Path, out: Path, first: Path, tmp_path: Path) -> None:
    (tmp_path / "manifests").symlink_to(out / "manifests")
    command = [sys.executable, "-m", "harness", "run", str(suite), "--out", str(tmp_path), "--limit", "5"]
    draw = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(1.0, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert contents(folder_of(harness("run", suite, "--out", tmp_path, "--limit", 5))) == contents(first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_resumed_by_name(
    suite: Path, out: Path, first: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "manifests").symlink_to(out / "manifests")
    command = [sys.executable, "-m", "harness", "run", str(suite), "--out", str(tmp_path), "--limit", "5"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs inherit that it is ignored
    )
    while not list(tmp_path.glob("runs/*/run.json")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "go on" in said
    (run,) = [path.name for path in (tmp_path / "runs").iterdir()]
    assert json.loads((tmp_path / "runs" / run / "run.json").read_text())["status"] == "interrupted"
    resumed = folder_of(harness("resume", run, "--out", tmp_path))
    assert resumed.name == run
    assert contents(resumed) == contents(first)


def test_a_run_whose_suite_says_something_else_now_is_not_resumed(
    suite: Path, out: Path, first: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "small.yaml"
    changed.write_text(suite.read_text().replace("[none, {jpeg", "[none, '${BLUR:-png}', {jpeg"))
    said = json.loads((first / "run.json").read_text()) | {"id": "cut", "status": "interrupted", "suite": str(changed)}
    (out / "runs" / "cut").mkdir()
    (out / "runs" / "cut" / "run.json").write_text(json.dumps(said))
    ended = harness("resume", "cut", "--out", out, environ={"BLUR": "blur sigma=1"})
    shutil.rmtree(out / "runs" / "cut")
    assert ended.returncode == 2, ended.stderr
    assert "run cut: expected the suite that it was started with, got another: tasks changed" in ended.stderr
    assert f"harness run {changed}" in ended.stderr.replace("\n", "")


def outlived() -> set[Path]:
    """Return the regions of shared memory whose process is gone."""
    return {
        region
        for region in Path("/dev/shm").glob("discern-*-*")
        if not Path("/proc", region.name.split("-")[1]).exists()
    }


@pytest.mark.triton
def test_a_real_triton_decides_the_same(suite: Path, out: Path, first: Path) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    before = outlived()
    served = folder_of(harness("run", suite, "--out", out, "--limit", 5, "--serve", "triton"))
    here, there = (pd.read_csv(folder / "tables" / "small_figures.csv") for folder in (first, served))
    pd.testing.assert_frame_equal(here, there, rtol=1e-4, atol=1e-6)
    said = json.loads((served / "run.json").read_text())
    assert said["served"] == "triton"
    assert outlived() <= before


def test_a_dry_run_counts_and_asks_nothing(suite: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "manifests").symlink_to(out / "manifests")
    said = harness("run", suite, "--out", tmp_path, "--limit", 5, "--dry-run")
    assert said.returncode == 0, said.stderr
    assert "27 cells, 45 images, 135 answers" in said.stdout
    assert "to ask: 135 answers in 27 requests" in said.stdout
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (["modles=[x]"], 2, "Did you mean 'models'"),
        (["models=[dif.miniatur]"], 2, "Did you mean 'dif.miniature'"),
        (["models=[{name: a.b, endpoint: 'grpc://127.0.0.1:1/x', options: {retries: 0}}]"], 3, "harness serve"),
        (["models=[{name: a.b, endpoint: 'ftp://h/x'}]"], 2, "known scheme"),
        (["tasks.0.subsets=[zork]"], 2, "zork"),
        (["models=[{name: a.b, endpoint: 'onnx:/nowhere.onnx'}]"], 3, "an ONNX file"),
    ],
)
def test_errors_are_one_message_and_an_exit_code(
    suite: Path, out: Path, settings: list[str], code: int, message: str, first: Path
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    ended = harness("run", suite, "--out", out, *words)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_failing_answers_make_the_run_invalid(suite: Path, out: Path, first: Path) -> None:
    script = {
        "card": {"name": "toy.bad", "preprocess": {"crop": 32}, "score": "probability"},
        "faults": [{"kind": "refused", "every": 2}],
    }
    setting = f"models=[{{name: toy.bad, endpoint: '{'scripted:' + json.dumps(script)}'}}]"
    ended = harness("run", suite, "--out", out, "--limit", 5, "--set", setting)
    assert ended.returncode == 4, ended.stderr
    assert "INVALID" in ended.stdout
    assert "endpoint:refused" in ended.stdout


def test_a_canary_token_reaches_no_file(suite: Path, out: Path, first: Path, tmp_path: Path) -> None:
    canary = "c4n4ry-7f3a"
    setting = (
        "models=[{name: a.b, endpoint: 'grpc://127.0.0.1:1/x', options: {retries: 0, auth: {bearer_env: CANARY}}}]"
    )
    (tmp_path / "manifests").symlink_to(out / "manifests")
    ended = harness("run", suite, "--out", tmp_path, "--set", setting, environ={"CANARY": canary})
    assert ended.returncode == 3
    assert canary not in ended.stdout + ended.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]


@pytest.mark.parametrize("what", ["models", "data", "degradations", "tasks", "runs"])
def test_list(what: str, out: Path, repository: Path, first: Path) -> None:
    listed = harness("list", what, "--out", out, "--repository", repository)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.strip()


def test_help_shows_examples() -> None:
    assert "Examples" in harness("run", "--help").stdout
    assert harness("list", "modles").returncode == 2


def test_the_base_install_needs_no_torch() -> None:
    code = "import sys, harness.cli, harness.run; sys.exit(not {'torch', 'export'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
