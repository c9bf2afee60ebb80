"""Shipped suites and models: found by name where there is nothing of that name."""

from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.listing import LISTINGS
from harness.repository import find_entries
from harness.shipped import REPOSITORY, find_repository, find_suite, shipped_suites
from harness.spec.load import load_suite


def test_a_shipped_suite_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suites: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_suite(Path("genimage_cross"))
    assert found.samefile(suites / "genimage_cross.yaml")
    suite = load_suite(found, (), {})
    assert len(find_entries(found.parent / suite.repository, "*.mini_*")) >= 64


def test_what_is_there_goes_before_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("genimage_cross").write_text("name: mine", encoding="utf-8")
    assert find_suite(Path("genimage_cross")) == Path("genimage_cross")
    REPOSITORY.mkdir()
    assert find_repository(REPOSITORY) == REPOSITORY


@pytest.mark.parametrize("said", ["genimage_crss", "suites/genimage_cross.yaml", "elsewhere/genimage_cross"])
def test_a_name_that_is_missed_is_offered(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match="Did you mean 'genimage_cross'"):
        find_suite(Path(said))


@pytest.mark.parametrize("said", ["mine.yaml", "suites/mine.yaml", "folder/mine"])
def test_other_paths_are_left_to_whoever_reads_them(said: str) -> None:
    assert find_suite(Path(said)) == Path(said)


def test_the_repository_that_ships_is_read_where_none_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_repository(REPOSITORY).samefile(repository)
    assert find_repository(Path("other")) == Path("other")


def test_shipped_suites_are_listed_with_what_they_ask(tmp_path: Path) -> None:
    listed = dict(LISTINGS["suites"](tmp_path, tmp_path))
    assert listed.keys() == shipped_suites().keys()
    assert all(listed.values())
