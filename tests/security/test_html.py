"""Names, paths, labels and messages of others are text in every report: no element, attribute, link or script more."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from tests.e2e.commands import harness as command_line
from tests.security.hostile import ATTACKS, Word, attack, calm, harness, write_suite

LONG = {("title", ""), ("text", "transform")}
"""What long labels alone bring into a drawing: the whole of what is cut, and a slant."""

CHROMIUM = Path("/usr/bin/chromium")


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, its scripts and styles, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[tuple[str, str]] = set()
        self.links: list[str] = []
        self.raw: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements |= {(tag, name) for name, _ in attrs} | {(tag, "")}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "data", "style")]
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_comment(self, data: str) -> None:
        self.elements.add(("a comment", data))

    def handle_data(self, data: str) -> None:
        (self.raw if self._inside in ("script", "style") else self.words).append(data)


@dataclass(frozen=True)
class Shown:
    """Everything that shows two runs of a suite: the folder of all files, and what the commands printed."""

    root: Path
    printed: str

    def files(self, suffix: str) -> dict[str, str]:
        """Return the text of files by what they are, whatever names they got."""
        found = sorted(path for path in self.root.rglob(f"*{suffix}") if path.is_file())
        return {re.sub(r"runs/[^/]*", "runs/RUN", str(path.relative_to(self.root))): path.read_text() for path in found}


def show(root: Path, word: Word) -> Shown:
    """Run a suite twice, the second time with other answers, and make all that is made of runs."""
    printed = []
    for name, rule in (("a", "hash"), ("b", "brightness")):
        (root / name).mkdir()
        printed.append(harness("run", write_suite(root / name, word, rule), "--out", root / "out"))
    a, b = sorted((root / "out" / "runs").iterdir(), key=lambda path: (path / "run.json").stat().st_mtime_ns)
    expected = [word for figure in ("flips: 0", "flips per subset: 0", "top1: -1pt") for word in ("--expect", figure)]
    outputs = ["--junit", root / "gate.xml", "--summary", root / "summary.md", "--benchmark", root / "bench"]
    printed.append(harness("gate", b, "--baseline", a, *expected, *outputs))
    printed.append(harness("compare", a, b, "--to", root / "compare"))
    printed.append(harness("report", "--out", root / "out"))
    printed.append(harness("list", "runs", "--out", root / "out"))
    assert [result.exit_code for result in printed] == [0, 0, 1, 0, 0, 0], [result.output for result in printed]
    return Shown(root, "\n".join(result.output for result in printed))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return show(tmp_path_factory.mktemp("hostile"), attack)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return show(tmp_path_factory.mktemp("harmless"), calm)


def test_pages_have_no_element_attribute_or_link_of_others(hostile: Shown, harmless: Shown) -> None:
    pages, others = hostile.files(".html"), harmless.files(".html")
    assert pages.keys() == others.keys()
    assert {"compare/report.html", "out/site/index.html", "out/site/models/toy.told.html"} <= pages.keys()
    said = 0
    for name, text in pages.items():
        page, other = Page(text), Page(others[name])
        assert page.elements <= other.elements | LONG, name
        assert page.raw == other.raw, name
        assert all(re.match(r"#|data:image/png;base64,|(\.\./)?(models|runs|index\.html)", link) for link in page.links)
        said += sum(ATTACKS[0] in words for words in page.words)
    assert said > 50


def test_pictures_are_drawings_and_nothing_else(hostile: Shown, harmless: Shown) -> None:
    pictures, others = hostile.files(".svg"), harmless.files(".svg")
    assert pictures.keys() == others.keys() != set()
    for name, text in pictures.items():
        nodes, calmer = (list(ElementTree.fromstring(said).iter()) for said in (text, others[name]))
        shown, expected = (
            {(node.tag.rpartition("}")[2], key) for node in some for key in ("", *node.attrib)}
            for some in (nodes, calmer)
        )
        assert shown <= expected | LONG, name
        styles, calm_styles = ([node.text for node in some if node.tag.endswith("style")] for some in (nodes, calmer))
        assert styles == calm_styles


def test_markdown_shows_the_words_and_renders_nothing(hostile: Shown, harmless: Shown) -> None:
    said, others = hostile.files(".md"), harmless.files(".md")
    assert {"summary.md", "compare/report.md", "out/runs/RUN/report.md"} <= said.keys()
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    def kinds(text: str) -> set[str]:
        blocks = reader.parse(text)
        return {token.type for block in blocks for token in (block, *(block.children or ()))}

    for name, text in said.items():
        assert kinds(text) <= kinds(others[name]), name
        assert not {"html_block", "html_inline", "link_open", "image"} & kinds(text)
    assert "alert(1)" in said["summary.md"]


def test_junit_is_the_same_tree(hostile: Shown, harmless: Shown) -> None:
    said, calmer = (list(ElementTree.parse(shown.root / "gate.xml").iter()) for shown in (hostile, harmless))
    assert [(node.tag, *node.attrib) for node in said] == [(node.tag, *node.attrib) for node in calmer]
    assert any(ATTACKS[0] in value for node in said for value in node.attrib.values())


def test_tables_keep_their_columns(hostile: Shown, harmless: Shown) -> None:
    tables, others = hostile.files(".csv"), harmless.files(".csv")
    assert tables.keys() == others.keys()
    for name, text in tables.items():
        widths, calmer = ([len(row) for row in csv.reader(said.splitlines())] for said in (text, others[name]))
        assert widths == calmer, name


def test_nothing_steers_a_terminal(hostile: Shown) -> None:
    assert ATTACKS[0] in hostile.printed
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", hostile.printed.replace("\r\n", "\n"))


def test_a_path_is_no_markup_and_steers_no_terminal(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, calm)
    named = suite.rename(suite.with_name("a[red] \x1b]0;owned\x07.yaml"))
    said = harness("validate", named)
    assert said.exit_code == 0, said.exception
    assert "a[red] \ufffd]0;owned\ufffd.yaml: valid" in said.output


def test_an_error_steers_no_terminal(tmp_path: Path) -> None:
    ended = command_line("validate", tmp_path / "no[/red]\x1b]0;owned\x07.yaml")
    assert ended.returncode == 2
    assert "no[/red]\ufffd]0;owned\ufffd.yaml: expected a readable suite file" in ended.stderr


def test_files_keep_to_names_of_ours(hostile: Shown) -> None:
    names = {path.relative_to(hostile.root).as_posix() for path in hostile.root.rglob("*") if path.is_file()}
    made = {name for name in names if not name.startswith(("a/", "b/"))}
    assert all(re.fullmatch(r"[A-Za-z0-9_./\-]+", name) for name in made)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    api = pytest.importorskip("playwright.sync_api", reason="the group `test` is not installed: no playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def heard(browser, path: Path) -> list[str]:
    """Open a file and return what it tried: scripts of its own, other addresses, complaints of its policy."""
    page, said = browser.new_page(), []
    page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    page.wait_for_timeout(50)
    page.close()
    return said


def test_a_browser_runs_and_fetches_nothing(browser, hostile: Shown, tmp_path: Path) -> None:
    (tmp_path / "open.html").write_text("<p>" + ATTACKS[0], encoding="utf-8")
    assert heard(browser, tmp_path / "open.html") == ["dialog 1"]
    site = hostile.root / "out" / "site"
    runs = sorted(site.glob("runs/*/report.html"))
    pictures = sorted(site.glob("runs/*/pictures/*.svg"))
    for path in (site / "index.html", site / "models" / "toy.told.html", runs[0], pictures[0]):
        assert heard(browser, path) == [], path.name
