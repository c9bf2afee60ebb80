"""The wheel: what is in it, and that it runs by itself in an empty folder."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = "harness/_shipped/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(["uv", "build", "--wheel", "--out-dir", folder], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_it_ships_what_is_tracked_and_no_more(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "suites", "model_repository"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    names = zipfile.ZipFile(wheel).namelist()
    held = {name.removeprefix(SHIPPED) for name in names if name.startswith(SHIPPED)}
    assert held == {name for name in listed if not name.startswith("suites/train/")}
    assert not [name for name in names if name.startswith(("tests/", "reports/", "docs/"))]
    assert wheel.stat().st_size < 70_000_000


def test_it_runs_where_nothing_else_is(wheel: Path, tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ["GENIMAGE_MODELS"] = "[cg]*.mini_gan"

    def harness(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["uvx", "--python", "3.11", "--from", str(wheel), "harness", *words]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600)

    assert "genimage_cross " in harness("list", "suites").stdout
    assert "cnnspot.mini_gan " in harness("list", "models").stdout
    ended = harness("run", "genimage_cross", "--limit", "4")
    assert ended.returncode == 0, ended.stderr
    report = tmp_path / ended.stdout.rsplit("Report: ", 1)[1].strip()
    assert "cnnspot.mini_gan" in report.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"reports"}
    missing = harness("list", "exports")
    assert missing.returncode == 2 and "extra" in missing.stderr
