"""What the report of an attribution task shows and says, from records made up by hand."""

from pathlib import Path

import pytest

from harness.report import kept, render
from harness.report.attribution import attribution_sections, verdict
from harness.report.tree import Curves, Dendrogram, Matrix, Report, Scatter, Section, Table, Text
from harness.stats import Estimate
from harness.tasks.attribution import Against, Attribution
from tests.unit.attributions import DESIGNS, SOURCES, Bench

JPEG = "jpeg quality=65 subsampling=4:2:0"
PLANE = {name: ((float(place), 0.0), (float(place), 1.0)) for place, name in enumerate(SOURCES)}
CHOICE = {"calibration": "val", "methods": ["mani*"], "baselines": ["base*"], "designs": DESIGNS}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Attribution:
    bench = Bench(tmp_path_factory.mktemp("cells"), degradations=["none", JPEG], **CHOICE)
    for name, skill in (("mani.rgb_s0", 3.0), ("mani.rgb_s1", 3.0), ("mani.sl", 2.0), ("base.plain", 1.0)):
        bench.drawn(name, skill, len(name), count=12)
        bench.drawn(name, skill / 2, len(name), count=12, splits=["test"], condition=JPEG)
    known = SOURCES[:-1]
    bench.drawn("mani.open", 3.0, 9, classes=known, count=12)
    bench.drawn("mani.open", 1.0, 9, classes=known, count=12, splits=["test"], condition=JPEG)
    return bench.figures(resamples=100)


def laid_out(found: Attribution, earlier: tuple[Attribution, ...] = ()) -> dict[str, Section]:
    return {section.title: section for section in attribution_sections(found, earlier, PLANE, (), False)}


def test_what_stands_where(found: Attribution) -> None:
    sections = laid_out(found)
    assert list(sections) == [
        "Leaderboard",
        "Best method against best baseline",
        "Families",
        "Confusion",
        "Unseen generators",
        "Sources by their answers",
        "Answers in a plane",
        "Degradations",
        "Every source",
    ]
    (board,) = sections["Leaderboard"].blocks
    assert isinstance(board, Table)
    assert [row["method"] for row in board.rows] == ["mani.rgb", "mani.sl", "base.plain"]
    assert board.rows[-1]["rank"] == 3
    assert [row["trainings"] for row in board.rows] == [2, 1, 1]
    confusions = sections["Confusion"].blocks
    assert [block.title for block in confusions if isinstance(block, Matrix)] == [
        "Answers of mani.rgb",
        "Answers of base.plain",
    ]
    (unseen,) = sections["Unseen generators"].blocks
    assert isinstance(unseen, Table)
    assert [(row["method"], row["unseen"]) for row in unseen.rows] == [("mani.open", "flow")]
    assert unseen.rows[0]["accuracy"] == found.methods[-1].accuracy
    groups = sections["Sources by their answers"].blocks
    assert [type(block) for block in groups] == [Dendrogram, Dendrogram, Table]
    (plane,) = sections["Answers in a plane"].blocks
    assert isinstance(plane, Scatter)
    assert plane.points == PLANE
    (curves,) = sections["Degradations"].blocks
    assert isinstance(curves, Curves)
    clean, degraded = curves.series["mani.rgb"]
    assert clean is not None and degraded is not None
    assert clean.value > degraded.value


def test_it_renders_and_is_kept_whole(found: Attribution) -> None:
    report = Report("t", "s", "VALID", (), tuple(laid_out(found).values()))
    files = render(report)
    assert "mani.rgb minus base.plain" in files["report.html"]
    assert "| mani.open" in files["report.md"]
    assert "pictures/attribution_plane.svg" in files
    again = kept.load(kept.dump((report, ())))
    assert again is not None
    assert render(again[0]) == files


def test_a_second_task_stands_beside_the_first(found: Attribution, tmp_path: Path) -> None:
    bench = Bench(tmp_path, name="size192").drawn("mani.rgb_s0", 2.0, 5, splits=["test"], count=12)
    other = bench.figures(resamples=100)
    (table,) = laid_out(other, (found,))["Beside other tasks"].blocks
    assert isinstance(table, Table)
    assert [column.key for column in table.columns] == ["method", "attribution", "size192"]
    rows = {row["method"]: row for row in table.rows}
    assert rows["mani.rgb"]["attribution"] == found.methods[0].accuracy
    assert rows["mani.rgb"]["size192"] == other.methods[0].accuracy
    assert rows["base.plain"]["size192"] is None


def test_several_tasks_name_theirs(found: Attribution) -> None:
    titles = [section.title for section in attribution_sections(found, (), {}, (), True)]
    assert all(title.startswith("attribution: ") for title in titles)
    assert "attribution: Answers in a plane" not in titles


def against(value: float, p: float, parts: dict[str, float], mcnemar: tuple[float, ...] = (0.01, 0.2)) -> Against:
    def estimate(v: float) -> Estimate:
        return Estimate(v, v - 0.02, v + 0.02, 1000)

    return Against("mani.x", "base.x", estimate(value), p, mcnemar, {key: estimate(v) for key, v in parts.items()})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (against(0.08, 0.001, {}), "better by at least 5 points, and significantly."),
        (against(0.03, 0.01, {}), "significantly better, but not by at least 5 points."),
        (against(0.06, 0.2, {}), "not shown to be better by at least 5 points: the difference may be chance."),
        (against(-0.06, 0.001, {}), "not better by at least 5 points: it is significantly worse."),
        (against(0.08, 0.001, {}), "+8.0 points [+6.0, +10.0], p = 0.001 over 1,000 images"),
        (
            against(0.08, 0.001, {}),
            "of 2 pairs of trainings 1 differ by McNemar's test, as if images were independent (p at most 0.2).",
        ),
        (against(0.08, 0.001, {}, (0.03,)), "McNemar's p, as if images were independent, 0.03."),
        (against(0.03, 0.01, {"gan": 0.09, "flow": -0.04, "vq": 0.01}), "in points: flow (-4.0), vq (+1.0)."),
    ],
)
def test_the_verdict_says_how_it_is(found: Against, said: str) -> None:
    assert said in verdict(found)


def test_where_it_holds_nothing_falls_short() -> None:
    assert "falls short" not in verdict(against(0.08, 0.001, {"flow": -0.04}))


def test_the_verdict_stands_in_the_report(found: Attribution) -> None:
    assert found.against is not None
    text = laid_out(found)["Best method against best baseline"].blocks[0]
    assert isinstance(text, Text)
    assert text.body == verdict(found.against)
