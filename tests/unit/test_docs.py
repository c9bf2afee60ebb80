"""The written pages: their links, the commands they show, and the tests they name."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from harness.cli import app
from harness.listing import LISTINGS
from harness.shipped import shipped_suites

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
MADE = ROOT / "docs" / "suites.md"
"""The page that the site's build makes."""

COMMANDS = typer.main.get_command(app)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)
END = re.compile(r" [|>#] | && |; |\s#|<br>|$")


def shown(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a page's code, without the first."""
    code = [body for language, body in FENCE.findall(text) if language in ("", "bash", "yaml")]
    code += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        for found in re.finditer(r"(?:^|\s)harness (?=[a-z])", line):
            said = line[found.end() :]
            said = said[: END.search(said).start()].replace("[", "").replace("]", "")
            try:
                yield shlex.split(said)
            except ValueError:
                yield said.split()


def complaint(words: list[str]) -> str:
    """Return what is wrong with a command; nothing where it is right."""
    command, rest = COMMANDS, list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0) if rest else ""
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    options = {"--help"} | {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in options]
    if unknown:
        return f"no option {unknown[0]}"
    first = rest[0] if rest else ""
    if command.name in ("run", "validate") and re.fullmatch("[a-z0-9_]+", first) and first not in shipped_suites():
        return f"no shipped suite {first!r}"
    if command.name == "list" and first.islower():
        return "".join(f"nothing lists {what!r}" for what in first.split("|") if what not in LISTINGS)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_real(page: Path) -> None:
    said = list(shown(page.read_text(encoding="utf-8")))
    assert {" ".join(words): wrong for words in said if (wrong := complaint(words))} == {}


def test_examples_in_help_are_real() -> None:
    said = [words for command in COMMANDS.commands.values() for words in shown(f"```\n{command.epilog or ''}\n```")]
    assert len(said) > 20
    assert {" ".join(words): wrong for words in said if (wrong := complaint(words))} == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`harness rnu SUITE`", "no command 'rnu'"),
        ("```\nharness run SUITE --limt 3\n```", "no option --limt"),
        ("```\nGENIMAGE_ROOT=DIR harness run genimage_crss # it\n```", "no shipped suite 'genimage_crss'"),
        ("`harness list models|modles`", "nothing lists 'modles'"),
        ("```\nuvx --from dist/*.whl harness run genimage_cross --set 'seed=1' && rm --x\n```", ""),
    ],
)
def test_a_wrong_command_is_seen(text: str, wrong: str) -> None:
    assert [complaint(words) for words in shown(text)] == [wrong]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link} - {""}
    assert [link for link in links if page.parent / link != MADE and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_suites_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"(?<![\w/])suites/[\w/]+(?:\.\w+)+", page.read_text(encoding="utf-8"))
    assert [name for name in named if name != "suites/mine.yaml" and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_are_there(page: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    files = {file: _text(ROOT / "tests" / file) for file, _ in named}
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in files[file]] == []


def test_a_promise_names_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    promises = [line for line in rows if not line.startswith(("|---", "| promise "))]
    assert len(promises) > 30
    assert [line for line in promises if ".py::test_" not in line] == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_the_site_is_built_whole_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the group `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pages = {path.parent.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("index.html")}
    assert {"guarantees", "contributing", "changelog", "security"} <= pages.keys()
    for kind in ("detection", "classification", "disagreement", "attribution", "difference", "load", "gray"):
        assert f"<code>{kind}</code>" in pages["suites"]
    fetched = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//")
    assert [name for name, html in pages.items() if fetched.search(html)] == []
