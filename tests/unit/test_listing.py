import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.card import NAME_PATTERN
from harness.errors import CardError, HarnessError
from harness.images.degrade import parse_degradation
from harness.listing import LISTINGS, load_catalog
from harness.repository import load_entry
from harness.spec.suite import DataSpec, Suite
from harness.store.runs import RunInfo, RunStore, Status

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'harness'; from harness.cli import main; main()"


def names(what: str) -> list[str]:
    return [name for name, _ in LISTINGS[what](Path(), Path())]


@pytest.mark.parametrize("what", [what for what in LISTINGS if what not in ("runs", "exports")])
def test_everything_has_a_sentence(what: str, repository: Path, tmp_path: Path) -> None:
    rows = LISTINGS[what](repository, tmp_path)
    assert rows
    assert len({name for name, _ in rows}) == len(rows)
    for name, text in rows:
        assert name.strip()
        assert len(text.split()) > 2, name
        assert "\n" not in text


def test_models_are_listed_with_what_their_cards_say(repository: Path, tmp_path: Path) -> None:
    rows = dict(LISTINGS["models"](repository, tmp_path))
    assert rows["dif.miniature"] == load_entry(repository / "dif.miniature").card.summary
    assert list(rows) == sorted(rows)


def test_an_empty_repository_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="harness export NAME"):
        LISTINGS["models"](tmp_path, tmp_path)


def test_a_suite_takes_every_layout_that_is_listed() -> None:
    assert "miniature" in names("data")
    for name in names("data"):
        assert DataSpec(layout=name, root="" if name == "miniature" else "somewhere").layout == name


def test_a_suite_takes_every_degradation_that_is_listed() -> None:
    assert {"none", "jpeg", "blur", "downsample"} <= set(names("degradations"))
    for name in names("degradations"):
        try:
            parse_degradation(name)
        except HarnessError as error:
            assert "a known one" not in str(error)  # it may want parameters


def test_a_suite_takes_every_task_that_is_listed() -> None:
    assert "detection" in names("tasks")
    for kind in names("tasks"):
        said = {"name": "s", "data": {"d": {"layout": "miniature"}}, "models": ["dif.miniature"]}
        asked = {"gray": {"history": "file"}, "difference": {"pairs": {"table": "pairs.csv"}}}.get(kind, {"data": "d"})
        assert Suite.model_validate({**said, "tasks": [{"kind": kind, **asked}]}).tasks[0].kind == kind


def save(root: Path, run: str, started: str, status: Status, verdict: str | None = None) -> None:
    RunStore(root).save(
        RunInfo(id=run, plan="p", suite="s.yaml", spec={}, status=status, started=started, verdict=verdict)
    )


def test_runs_are_listed_oldest_first_with_how_they_ended(tmp_path: Path) -> None:
    save(tmp_path, "b", "2026-01-02T00:00:00+00:00", "complete", "INVALID: 3 of 9 failed")
    save(tmp_path, "c", "2026-01-03T00:00:00+00:00", "interrupted")
    save(tmp_path, "a", "2026-01-01T00:00:00+00:00", "complete", "VALID")
    rows = [(name, text.strip()) for name, text in LISTINGS["runs"](Path("no repository"), tmp_path)]
    assert rows == [("a", "complete VALID"), ("b", "complete INVALID: 3 of 9 failed"), ("c", "interrupted")]


def test_runs_that_can_not_be_read_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "a", "2026-01-01T00:00:00+00:00", "complete", "VALID")
    for run, content in (("torn", b'{"id": "to'), ("other", b"{}")):
        (tmp_path / "runs" / run).mkdir()
        (tmp_path / "runs" / run / "run.json").write_bytes(content)
    assert [name for name, _ in LISTINGS["runs"](tmp_path, tmp_path)] == ["a"]


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    assert LISTINGS["runs"](tmp_path, tmp_path / "none") == []


def test_exports_are_those_of_the_catalogue(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `export` is not installed")
    rows = LISTINGS["exports"](repository, tmp_path)
    assert [name for name, _ in rows] == list(load_catalog().EXPORTS)
    assert all(re.fullmatch(NAME_PATTERN, name) and text for name, text in rows if name != "gradcam")


def test_exports_without_torch_say_how_to_install_it() -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "list", "exports"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == HarnessError.exit_code
    assert "expected the package torch, got none. Install it: uv sync --extra export." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_others_are_listed_without_torch() -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "list", "degradations"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("none ")
