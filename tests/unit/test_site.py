import json
import shutil
from html.parser import HTMLParser

import pytest

from harness.errors import StoreError
from harness.events import Silent
from harness.report.document import document
from harness.report.files import write_report
from harness.report.tree import Column, Table
from harness.site.build import build_site
from harness.site.entry import read_entry
from harness.site.index import make_index, model_files
from harness.site.pages import index_page, model_page
from harness.stats import Estimate
from tests.unit.sites import board, make_run, report, run_json

HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>"


def entry(folder, told=None, **info):
    told = told or report(board({"a.one": 0.8, "b.one": 0.7}), models=("a.one", "b.one"))
    return read_entry(folder, json.dumps(run_json(folder, **info)).encode(), document(told).encode(), page=True)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, element, attributes):
        self.elements.append(element)
        self.links += [value for name, value in attributes if name == "href"]
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, text):
        self.words.append(text)


def index_text(*entries):
    index = make_index(entries)
    return index_page(index, model_files(index.models))


class TestEntry:
    def test_headline_is_the_first_figure_that_is_known(self):
        first, second = entry("r").standings
        assert (first.name, first.model, first.task, first.headline.title) == ("a.one", "a.one", "detect", "AUROC")
        assert second.figure == Estimate(0.7, 0.6, pytest.approx(0.8), 50)
        assert [column.key for column in first.columns] == ["none", "auroc", "seconds"]

    def test_rows_without_a_rank_do_not_compete(self):
        assert "baseline" not in "".join(standing.name for standing in entry("r").standings)

    def test_a_head_belongs_to_its_model(self):
        told = report(board({"a.one/gan": 0.8, "x/y": 0.7}), models=("a.one",))
        assert [standing.model for standing in entry("r", told).standings] == ["a.one", "x/y"]

    def test_several_boards_of_one_task_keep_their_titles(self):
        told = report(
            board({"s": 0.5}, "detect_0_leaderboard", "A -> B"), board({"s": 0.5}, "detect_1_leaderboard", "C")
        )
        assert [standing.task for standing in entry("r", told).standings] == ["detect: A -> B", "detect: C"]

    def test_endpoints(self):
        assert entry("r").endpoint("a.one") == "in process"
        assert entry("r", served="triton").endpoint("b.one") == "triton"
        assert entry("r", endpoint="grpc://127.0.0.1:8001/a").endpoint("a.one@b1") == "grpc://127.0.0.1:8001/a"
        assert len(entry("r", endpoint="scripted:" + "x" * 500).endpoint("a.one")) == 60

    @pytest.mark.parametrize(
        "said",
        [
            b"{",
            b"[]",
            b'{"format": 99, "sections": []}',
            b'{"format": 1}',
            b'{"format": 1, "sections": [{"blocks": [{"type": "table", "name": "detect_leaderboard", "title": "t",'
            b' "columns": [{"key": "a", "title": "a", "kind": "evil", "better": "high"}], "rows": []}]}]}',
            b'{"format": 1, "sections": [{"blocks": [{"type": "table", "name": "detect_leaderboard", "title": "t",'
            b' "columns": [{"key": "a", "title": "a", "kind": "float", "better": "high"}], "rows": [{"a": [1]}]}]}]}',
            b"[" * 100_000,
        ],
    )
    def test_an_unreadable_report_is_told(self, said):
        found = read_entry("r", json.dumps(run_json("r")).encode(), said)
        assert found.trouble.startswith("report.json: ")
        assert found.info is not None
        assert "Could not be read" in index_text(found)

    def test_an_unreadable_run_is_told(self):
        found = read_entry("r", b"{}", None)
        assert found.trouble.startswith("run.json: ")
        assert found.trouble in index_text(found, entry("s"))


class TestIndex:
    def test_an_invalid_run_does_not_replace_a_valid_one(self):
        index = make_index([entry("a", day=1), entry("b", day=2, verdict="INVALID: failed")])
        [course] = index.of("a.one")
        assert course.latest[0].folder == "a"
        assert [point[0].folder for point in course.points] == ["a", "b"]
        assert [point[0].folder for point in course.comparable] == ["a"]

    def test_the_order_of_folders_does_not_matter(self):
        entries = [entry(name, day=day) for name, day in (("c", 3), ("a", 1), ("b", 2))]
        assert index_text(*entries) == index_text(*reversed(entries))
        assert [item.folder for item in make_index(entries).entries] == ["c", "b", "a"]

    def test_best_first_within_a_task(self):
        low = Table(
            "time_leaderboard",
            "t",
            (Column("model", "model"), Column("p99", "p99", "seconds", "low")),
            ({"model": "slow", "p99": 2.0}, {"model": "fast", "p99": 1.0}),
        )
        index = make_index([entry("r", report(low, board({"b": 0.1, "a": 0.9})))])
        assert [course.name for course in index.courses] == ["a", "b", "fast", "slow"]

    def test_pages_of_models_do_not_meet(self):
        names = ["a.one", "A.one", "a/one", "a_one", "..", "../../etc/passwd", "x" * 300, "x" * 301, "ü", "é"]
        files = model_files(names)
        assert len({name.lower() for name in files.values()}) == len(names)
        assert files["a.one"] == "a.one.html"
        assert all("/" not in name and len(name) < 120 and not name.startswith(".") for name in files.values())


class TestPages:
    def test_hostile_names_are_only_text(self):
        told = report(board({HOSTILE: 0.8}, title=HOSTILE, word=HOSTILE), models=(HOSTILE,), verdict=HOSTILE)
        info = {"suite": HOSTILE, "verdict": f"INVALID: {HOSTILE}", "endpoint": HOSTILE}
        hostile, calm = entry(HOSTILE, told, **info), entry("calm")
        index = make_index([hostile, calm, read_entry(HOSTILE, HOSTILE.encode(), None)])
        files = model_files(index.models)
        for text in (index_page(index, files), model_page(HOSTILE, index.of(HOSTILE))):
            page = Page(text)
            assert page.elements.count("script") == 1
            assert "img" not in page.elements
            assert HOSTILE in page.words
            assert all("<" not in link and '"' not in link for link in page.links)

    def test_every_run_and_model_is_linked(self):
        links = Page(index_text(entry("r1", day=1), entry("r2", day=2))).links
        assert {"runs/r1/report.html", "runs/r2/report.html", "models/a.one.html", "models/b.one.html"} <= set(links)

    def test_a_model_page_draws_a_curve_over_runs(self):
        index = make_index([entry(f"r{day}", day=day) for day in (1, 2, 3)])
        page = Page(model_page("a.one", index.of("a.one")))
        assert "AUROC, 3 VALID runs" in page.words
        assert page.words.count("2026-01-03 10:00") >= 1
        assert "what a.one is" in page.words
        assert "../runs/r3/report.html" in page.links

    def test_one_run_makes_no_curve(self):
        assert "svg" not in Page(model_page("a.one", make_index([entry("r")]).of("a.one"))).elements


def test_a_site_is_whole(tmp_path):
    told = report(board({"a.one": 0.8}), models=("a.one",))
    made = make_run(tmp_path, "r1", told)
    make_run(tmp_path, "r2", told, day=2)
    (tmp_path / "runs" / "broken").mkdir()
    built = build_site(tmp_path, tmp_path / "site", Silent())
    assert (built.runs, built.models, list(built.unread)) == (3, 1, ["broken"])
    site = tmp_path / "site"
    for page in (site / "index.html", *(site / "models").iterdir()):
        for link in Page(page.read_text()).links:
            assert link.startswith("#") or (page.parent / link).is_file(), link
    assert (site / "runs" / "r1" / "tables" / "detect_leaderboard.csv").is_file()
    first = (site / "index.html").read_bytes()
    build_site(tmp_path, site, Silent())
    assert (site / "index.html").read_bytes() == first
    write_report(report(board({"a.one": 0.9}), models=("a.one",)), made)
    build_site(tmp_path, site, Silent())
    assert (site / "index.html").read_bytes() != first
    assert (site / "runs" / "r1" / "report.html").read_bytes() == (made / "report.html").read_bytes()


def test_a_site_beside_its_runs_changes_none(tmp_path):
    made = make_run(tmp_path, "r1", report(board({"a.one": 0.8})))
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    build_site(tmp_path, tmp_path, Silent())
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_what_is_of_runs_and_models_that_are_gone_is_removed(tmp_path):
    site = tmp_path / "site"
    make_run(tmp_path, "r1", report(board({"a.one": 0.8}), models=("a.one",)))
    gone = make_run(tmp_path, "r2", report(board({"b.one": 0.7}), models=("b.one",)), day=2)
    build_site(tmp_path, site, Silent())
    for mine in ("models/notes.html", "runs/mine/report.html", "CNAME"):
        (site / mine).parent.mkdir(parents=True, exist_ok=True)
        (site / mine).write_text("kept")
    (tmp_path / "elsewhere").write_text("kept")
    with (site / "files.txt").open("a") as listed:
        listed.write("\nruns/../../elsewhere\nCNAME")
    shutil.rmtree(gone)
    build_site(tmp_path, site, Silent())
    assert {path.name for path in (site / "models").iterdir()} == {"a.one.html", "notes.html"}
    assert {path.name for path in (site / "runs").iterdir()} == {"r1", "mine"}
    assert (site / "CNAME").is_file()
    assert (tmp_path / "elsewhere").is_file()


def test_no_runs_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="harness run SUITE"):
        build_site(tmp_path, tmp_path / "site", Silent())
