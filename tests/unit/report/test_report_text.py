import io
import json
import math
import os
import re
from csv import DictReader
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.errors import StoreError
from harness.report import print_report, render, write_report
from harness.report.frames import csv, frame
from harness.report.markdown import escape
from harness.report.tree import Column, Matrix, Pairs, Report, Section, Table, Text
from harness.stats import Estimate

GOLDEN = Path(__file__).parents[2] / "golden" / "report"
"""Rewritten by running these tests with DISCERN_UPDATE_GOLDEN=1; look at the difference before keeping it."""

FILES = ["report.md", "report.json", "tables/leaderboard.csv", "tables/cross.csv", "tables/jpeg.csv", "tables/tree.csv"]


@pytest.mark.parametrize("name", FILES)
def test_files_are_as_they_were(small_report, name):
    golden, text = GOLDEN / name, render(small_report)[name]
    if os.environ.get("DISCERN_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8", newline="")
    assert text == golden.read_bytes().decode()


class TestMarkdown:
    @given(st.text())
    def test_a_label_is_one_line_without_html(self, text):
        shown = escape(text)
        assert not re.search(r"[\n\r<>]", shown)
        assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]]", shown)

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("resnet50.tv_int8", "resnet50.tv_int8"),
            ("_em_ a_b", "\\_em\\_ a_b"),
            ("# title", "\\# title"),
            ("1. item", "1\\. item"),
            ("---", "\\---"),
            ("-0.5 apart", "-0.5 apart"),
            ("a|b", "a\\|b"),
            ("a & <b>", "a &amp; &lt;b&gt;"),
            ("x\n\n# y", "x # y"),
        ],
    )
    def test_what_would_be_markup_is_escaped(self, text, shown):
        assert escape(text) == shown

    def test_every_row_of_a_table_has_its_cells(self, small_report):
        for lines in re.findall(r"(?:^\|.*\n)+", render(small_report)["report.md"], re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1

    def test_long_tables_point_to_their_file(self, large_report):
        assert "32 more rows in `tables/figures.csv`" in render(large_report)["report.md"]


class TestFrames:
    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
    def test_csv_keeps_every_digit(self, values):
        rows = tuple({"a": value, "e": Estimate(value, value, value, 7)} for value in values)
        table = Table("t", "t", (Column("a", "a", "float"), Column("e", "e", "estimate")), rows)
        read = list(DictReader(io.StringIO(csv(frame(table)))))
        assert all([float(row[key]) for row in read] == values for key in ("a", "e", "e_low", "e_high"))
        assert {row["e_n"] for row in read} == {"7"}

    def test_counts_stay_whole_beside_gaps(self):
        table = Table("t", "t", (Column("n", "n", "int"), Column("x", "x")), ({"n": 3}, {"x": "a"}))
        assert csv(frame(table)) == "n,x\n3,\n,a\n"

    def test_a_percent_column_keeps_its_intervals(self):
        rows = ({"p": Estimate(0.5, 0.4, 0.6, 9)}, {"p": 0.25}, {"p": math.nan})
        table = Table("t", "t", (Column("p", "p", "percent"),), rows)
        assert csv(frame(table)) == "p,p_low,p_high,p_n\n0.5,0.4,0.6,9\n0.25,,,\n,,,\n"

    def test_a_matrix_is_tidy(self):
        matrix = Matrix("m", "m", ("a", "b"), ("c",), ((Estimate(1.0, 0.9, 1.0, 5),), (None,)), frozenset({(0, 0)}))
        assert (
            csv(frame(matrix))
            == "row,column,marked,value,value_low,value_high,value_n\na,c,1,1.0,0.9,1.0,5\nb,c,0,,,,\n"
        )

    def test_prose_is_no_table(self):
        assert frame(Text("a")) is None


class TestDocument:
    def test_is_json_without_nan_or_pictures(self, large_report, small_report):
        for report in (large_report, small_report):
            text = render(report)["report.json"]
            tree = json.loads(text, parse_constant=lambda word: pytest.fail(word))
            assert tree["type"] == "report"
            assert [section["title"] for section in tree["sections"]] == [s.title for s in report.sections]
            assert "image_png" not in text

    def test_keeps_every_digit(self, small_report):
        tree = json.loads(render(small_report)["report.json"])
        assert tree["sections"][0]["blocks"][0]["rows"][0]["auroc"]["high"] == 0.9923
        assert tree["sections"][0]["blocks"][0]["rows"][2]["auroc"]["value"] is None
        assert tree["sections"][0]["blocks"][1]["diagonal"] == [[0, 0], [1, 1]]


class TestTerminal:
    @pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
    def test_fits(self, large_report, small_report, width):
        for report in (large_report, small_report):
            lines = printed(report, width).splitlines()
            assert max(map(cell_len, lines)) <= width
            assert "genimage_cross" in lines[0] or "small" in lines[0]

    def test_narrow_or_wide_no_figure_is_lost(self, large_report):
        table = next(block for block in large_report.blocks() if isinstance(block, Table))
        wide, narrow = printed(large_report, 200), printed(large_report, 80)
        for row in table.rows[:9]:
            assert f"{row['worst_auroc'].value:.3f}" in wide
            assert f"{row['worst_auroc'].value:.3f}" in narrow
        assert f"[{table.rows[0]['cross'].low:.3f}" in wide

    def test_is_plain_where_it_is_piped(self, large_report):
        assert "\x1b" not in printed(large_report, 100)

    def test_is_coloured_on_a_terminal(self, large_report):
        text = printed(large_report, 100, terminal=True)
        assert "\x1b[" in text
        assert "48;2;" in text

    def test_labels_can_not_steer_it(self):
        nasty = "\x1b[2J[bold red]x[/] \x07"
        report = Report(nasty, nasty, nasty, (nasty,), (Section(nasty, (Pairs("p", ((nasty, nasty),)),), nasty),))
        text = printed(report, 100)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert text.count("[bold red]x[/]") == 8

    @given(st.text(max_size=30))
    @settings(max_examples=25, deadline=None)
    def test_any_label_prints(self, label):
        table = Table("t", label, (Column("a", label), Column("b", label, "int")), ({"a": label, "b": 1},))
        lines = printed(Report("t", "s", "VALID", (), (Section("s", (table,)),)), 60).splitlines()
        assert max(map(cell_len, lines)) <= 60


def printed(report, width, terminal=False):
    out = io.StringIO()
    system = "truecolor" if terminal else None
    print_report(report, Console(file=out, width=width, force_terminal=terminal, color_system=system))
    return out.getvalue()


class TestFiles:
    def test_writes_what_it_says(self, small_report, tmp_path):
        paths = write_report(small_report, tmp_path / "run" / "report")
        pictures = [f"pictures/{name}.svg" for name in ("cross", "jpeg", "tree")]
        assert sorted(paths) == sorted(["report.html", *FILES, *pictures])
        assert all(path.read_bytes() for path in paths.values())
        written = {str(path.relative_to(tmp_path / "run/report")) for path in tmp_path.rglob("*") if path.is_file()}
        assert written == set(paths)

    def test_writes_the_same_bytes_again(self, large_report, tmp_path):
        first, second = (write_report(large_report, tmp_path / name) for name in "ab")
        assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]

    def test_a_failed_write_leaves_the_file_that_was_there(self, small_report, tmp_path, monkeypatch):
        before = write_report(small_report, tmp_path)["report.html"].read_bytes()

        def full(path, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="No space left"):
            write_report(small_report, tmp_path)
        assert (tmp_path / "report.html").read_bytes() == before
        assert not list(tmp_path.glob(".*"))

    def test_a_folder_that_is_none(self, small_report, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="a place that can be written"):
            write_report(small_report, tmp_path / "file")

    def test_names_that_are_no_unicode(self, tmp_path):
        report = Report("\udc80", "", "VALID", (), (Section("s", (Pairs("p", (("k", "\udcff.png"),)),)),))
        paths = write_report(report, tmp_path)
        assert "\\udcff.png" in paths["report.html"].read_text(encoding="utf-8")
        assert json.loads(paths["report.json"].read_text(encoding="utf-8"))["title"] == "\udc80"
