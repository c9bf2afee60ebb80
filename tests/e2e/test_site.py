"""The site as a reader has it: in a real browser, from the disk, by keyboard, at phone width, in the dark."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.events import Silent
from harness.report.tree import Column, Curves, Matrix, Table
from harness.site.build import build_site
from harness.stats import Estimate
from tests.unit.sites import board, make_run, report

CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="the group `test` is not installed: no playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the group `test` is not installed: no axe")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")

RUNS = 60
MODELS = (*(f"a.net{i:02}" for i in range(11)), "b.one")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    labels = tuple(f"generator_{i}" for i in range(9))
    some = Estimate(0.75, 0.6, 0.9, 40)
    matrix = Matrix("cross", "Cross", MODELS, labels, ((some,) * 9,) * len(MODELS), frozenset({(0, 0)}))
    curves = Curves("jpeg", "JPEG", labels, dict.fromkeys(MODELS[:3], (some,) * 9), "AUROC", "quality")
    columns = (Column("image", "image"), Column("mark", ""), Column("score", "score", "float"))
    long = Table("all", "All", columns, tuple({"image": f"{i}.png", "score": i / 7} for i in range(60)))
    for day in range(RUNS):
        figures = {name: 0.5 + 0.004 * ((7 * i + day) % 60) for i, name in enumerate(MODELS)}
        blocks = (matrix, curves, long) if day == RUNS - 1 else ()
        endpoint = "grpc://127.0.0.1:8001/a" if day % 2 else None
        verdict = "INVALID: 3 of 4 answers failed" if day == 3 else "VALID"
        told = report(board(figures), *blocks, models=MODELS, verdict=verdict)
        make_run(root, f"run{day:02}", told, day=day, verdict=verdict, endpoint=endpoint, limit=5 if day == 4 else None)
    (root / "runs" / "broken").mkdir()
    return build_site(root, root / "site", Silent()).index.parent


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page whose console stays silent, and which may reach nothing but files."""
    page, said = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    yield page
    page.close()
    assert said == []


def shown(page, table: str, column: int = 0) -> list[str]:
    """Return the texts of a column in the rows that are seen."""
    cells = page.locator(f"#{table} tbody tr:visible > :nth-child({column + 1})")
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


PAGES = ("index.html", "models/a.net00.html", f"runs/run{RUNS - 1}/report.html")


@pytest.mark.parametrize(("path", "scheme"), list(zip(PAGES, ("light", "dark", "dark"), strict=True)))
def test_nothing_keeps_a_reader_out(page, site, path, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto((site / path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["target"]) for item in found if item["impact"] != "minor"] == []


def test_the_index_shows_every_run_and_model(page, site):
    page.goto((site / "index.html").as_uri())
    assert page.locator("#runs tbody tr").count() == RUNS
    assert sorted(shown(page, "leaderboard")) == sorted(MODELS)
    assert shown(page, "unread") == ["broken"]
    assert page.locator("#runs .pill.bad").count() == 1
    page.click("#leaderboard tbody a >> text=b.one")
    assert page.inner_text("h1") == "b.one"
    page.click("text=Runs")
    page.locator("#runs tbody a").first.click()
    assert page.inner_text("h1") == "small"


def test_sorting_by_keyboard(page, site):
    page.goto((site / "index.html").as_uri())
    head = page.locator("#leaderboard thead th", has_text="latest")
    for key, order in (("Enter", "descending"), ("Space", "ascending")):
        head.locator("button").press(key)
        assert head.get_attribute("aria-sort") == order
        figures = [float(text.split()[0]) for text in shown(page, "leaderboard", 4)]
        assert figures == sorted(figures, reverse=order == "descending")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "over runs"


def test_filtering_by_keyboard_and_by_link(page, site):
    page.goto((site / "index.html").as_uri())
    page.focus("#runs input")
    page.keyboard.type("small invalid")
    assert shown(page, "runs") == ["2026-01-04 10:00"]
    assert page.inner_text("#runs output") == f"1 of {RUNS} rows"
    address = page.url
    assert address.endswith("#runs?q=small+invalid")
    page.goto("about:blank")
    page.goto(address)
    assert shown(page, "runs") == ["2026-01-04 10:00"]
    page.fill("#runs input", "<img src=x>")
    assert shown(page, "runs") == []
    page.goto((site / "index.html").as_uri() + "#leaderboard?sort=4.ascending")
    assert page.locator("#leaderboard [aria-sort=ascending]").inner_text().startswith("latest")


def test_light_and_dark(page, site):
    def ground() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    page.emulate_media(color_scheme="dark")
    page.goto((site / "index.html").as_uri())
    assert ground() < 150
    page.click("#scheme")
    assert ground() > 600
    page.emulate_media(media="print")
    assert not page.is_visible("#runs input")


def test_a_folded_table_opens_by_link(page, site):
    page.goto((site / PAGES[2]).as_uri() + "#all?q=59.png")
    assert shown(page, "all") == ["59.png"]


def test_without_scripts_the_tables_are_plain(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("#runs tbody tr").count() == RUNS
    assert page.locator("input").count() == 0
    context.close()
