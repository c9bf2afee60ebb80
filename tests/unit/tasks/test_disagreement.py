"""Figures of searches over records in a real store, small enough to be worked out by hand, and how they are told."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.card import Card
from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.pairs import Roles
from harness.plan import Cell, SearchCell
from harness.report.disagreement import disagreement_sections
from harness.report.thumbnails import search_tiles
from harness.report.tree import Curves, Section, Sheet, Table, Text, Tile
from harness.search.registry import parse_searcher
from harness.spec.suite import DataSpec, SampleSpec
from harness.spec.tasks import DisagreementTask
from harness.stats import holm, mcnemar, wilson
from harness.store.cells import CellStore
from harness.store.searches import NO_SEED, SEARCH_SCHEMA, SearchRecord
from harness.tasks.disagreement import BUDGETS, MOST_SHOWN, Disagreement, SearchFigures, evaluate_disagreement

FLOAT, INT8 = "net.tv_float", "net.int8"
PAIR = Roles(FLOAT, INT8, "net.tv_float.gradient")
CW = parse_searcher("difffinder_cw").id
SHORT = parse_searcher("difffinder_cw iterations=10").id
DFLARE = parse_searcher("dflare").id
CHASER = parse_searcher("diffchaser").id
SIDE = 16


def card(name: str, **training: str) -> Card:
    spec = Preprocess(crop=SIDE)
    return Card(name=name, task="classification", classes=("ash", "elm", "fir"), preprocess=spec, training=training)


CARDS = {name: card(name) for name in (FLOAT, INT8)}


def found(psnr: float = 60.0, **more: object) -> Mapping[str, object]:
    """What a record of a found image says."""
    said = {"outcome": "found", "label": 0, "white_class": 1, "black_class": 0, "psnr": psnr, "ssim": 0.9, "l2": 0.5}
    said |= {"linf": 2.0, "float_psnr": psnr + 1, "float_ssim": 0.95, "first_white": 1, "first_black": 1}
    return {**said, "first_gradients": 0, "png": picture(200), **more}


def lost(outcome: str = "lost_on_rounding", **more: object) -> Mapping[str, object]:
    """What a record of an image that did not hold says."""
    return {**found(), "outcome": outcome, **more}


MISSED: Mapping[str, object] = {"outcome": "not_found", "label": 0}


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(np.full((SIDE, SIDE, 3), value, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


class Bench:
    """Records of searchers on pairs, one cell each subset, and the figures of all that was written."""

    def __init__(self, root: Path, searchers: Sequence[str] = (CW,), **options: object) -> None:
        self.store = CellStore(root, SEARCH_SCHEMA)
        said = {"kind": "disagreement", "name": "t", "data": "d", "pairs": [{"white": FLOAT, "black": INT8}]}
        self.task = DisagreementTask.model_validate({**said, "searchers": searchers, **options})
        self.cells: list[SearchCell] = []
        self.cards = dict(CARDS)

    def put(
        self,
        said: Sequence[Mapping[str, object]],
        searcher: str = CW,
        roles: Roles = PAIR,
        subset: str = "photos",
        sources: Sequence[str] = (),
        missing: int = 0,
    ) -> "Bench":
        key = f"{len(self.cells):02}".ljust(64, "0")
        rows = []
        for position, row in enumerate(said):
            sample = f"{subset}/{position}.png"
            rows.append(SearchRecord(position, sample, sources[position] if sources else sample, **row))  # type: ignore
        self.store.append(key, rows)
        count = len(rows) + missing
        seeds = Cell(key, "t", FLOAT, "d", subset, 0, "test", "none", count, SampleSpec(), 8)
        self.cells.append(SearchCell(key, "t", roles, searcher, (seeds, seeds, seeds, seeds), "agree"))
        return self

    def figures(self, resamples: int = 200) -> Disagreement:
        return evaluate_disagreement(self.task, self.cells, self.cards, self.store, resamples, seed=0)

    def row(self) -> SearchFigures:
        (row,) = self.figures().rows
        return row


def test_success_is_counted_over_seeds_alone(tmp_path: Path) -> None:
    no_seeds = [{"outcome": outcome} for outcome in NO_SEED]
    ended = [found(), found(), lost(), lost("lost_on_reserving"), MISSED]
    row = Bench(tmp_path).put([*no_seeds, *ended]).row()
    assert (row.roles, row.searcher, row.seeds) == (PAIR, "difffinder_cw", 5)
    assert (row.estimates["sr_8bit"].value, row.estimates["sr_8bit"].n) == (2 / 5, 5)
    assert (row.estimates["sr_float"].value, row.estimates["sr_float"].n) == (4 / 5, 5)
    for name, hits in (("sr_8bit", 2), ("sr_float", 4)):
        interval = wilson(hits, 5)
        assert (row.estimates[name].low, row.estimates[name].high) == (interval.low, interval.high)
    assert row.outcomes == {
        **dict.fromkeys(NO_SEED, 1),
        "found": 2,
        "lost_on_rounding": 1,
        "lost_on_reserving": 1,
        "not_found": 1,
    }
    assert row.failures == {}


def test_distances_are_means_over_what_holds(tmp_path: Path) -> None:
    said = [found(60.0, ssim=0.8, l2=0.25, linf=1.0), found(50.0, ssim=0.6, l2=0.75, linf=4.0), lost(psnr=10.0), MISSED]
    row = Bench(tmp_path).put(said).row()
    values = {name: row.estimates[name].value for name in ("psnr", "ssim", "l2", "linf")}
    assert values == pytest.approx({"psnr": 55, "ssim": 0.7, "l2": 0.5, "linf": 2.5})
    assert row.estimates["psnr"].n == 2
    assert 50 <= row.estimates["psnr"].low < 55 < row.estimates["psnr"].high <= 60


def test_intervals_resample_sources_not_images(tmp_path: Path) -> None:
    said = [found(50.0 + place) for place in (0, 1, 2) * 2]
    alone = Bench(tmp_path / "1").put(said).row().estimates["psnr"]
    alike = Bench(tmp_path / "2").put(said, sources=["a"] * 3 + ["b"] * 3).row().estimates["psnr"]
    one = Bench(tmp_path / "3").put(said, sources=["same"] * 6).row().estimates["psnr"]
    assert alone.low < alone.value < alone.high
    assert alike.low == alike.value == alike.high == alone.value
    assert one.value == alone.value
    assert np.isnan([one.low, one.high]).all()


def test_spending_is_told_over_all_seeds_and_up_to_the_first_kept(tmp_path: Path) -> None:
    costs = [(10, 1, 3), (20, 3, 5), (30, 5, 7), (1000, 50, 100)]
    ended = [found(first_white=4), found(first_white=8), lost(), MISSED]
    said = [
        {**row, "white_queries": white, "black_queries": black, "gradients": gradients, "seconds": white / 10}
        for row, (white, black, gradients) in zip(ended, costs, strict=True)
    ]
    row = Bench(tmp_path).put([*said, {"outcome": "pre_existing"}]).row()
    white, black, gradients = np.array(costs).T
    for name, values in (("white", white), ("black", black), ("gradients", gradients)):
        assert row.queries[name] == np.median(values)
        assert row.queries[f"{name}_p95"] == pytest.approx(np.quantile(values, 0.95))
    assert (row.queries["first_white"], row.queries["first_black"], row.queries["first_gradients"]) == (6, 1, 0)
    assert row.estimates["seconds"].value == pytest.approx(white.mean() / 10)


def test_curves_count_what_the_first_kept_image_had_cost(tmp_path: Path) -> None:
    said = [
        found(first_black=1, first_white=0, first_gradients=1),
        found(first_black=10, first_white=20, first_gradients=20),
        found(first_black=11, first_white=0, first_gradients=0),
        lost(first_black=1),
        MISSED,
    ]
    row = Bench(tmp_path).put(said).row()
    black, everything = (dict(zip(BUDGETS, row.curves[name], strict=True)) for name in ("black", "all"))
    assert [black[budget].value for budget in (1, 5, 10, 20, 1000)] == [1 / 5, 1 / 5, 2 / 5, 3 / 5, 3 / 5]
    assert [everything[budget].value for budget in (1, 2, 10, 20, 50)] == [0, 1 / 5, 1 / 5, 2 / 5, 3 / 5]
    assert all(item.n == 5 for item in (*black.values(), *everything.values()))
    assert black[1000] == row.estimates["sr_8bit"]


def test_failures_and_missing_records_are_no_seeds(tmp_path: Path) -> None:
    failed = {"error": "endpoint:unavailable", "png": picture(1)}
    said = [found(), MISSED, failed, {"error": "answer:not_finite"}, {"error": "image:truncated"}]
    bench = Bench(tmp_path).put(said, missing=2).put([failed], subset="more")
    row = bench.row()
    assert row.seeds == 2
    assert row.estimates["sr_8bit"].value == 1 / 2
    assert row.failures == {"answer:not_finite": 1, "endpoint:unavailable": 2, "image:truncated": 1, "missing": 2}
    figures = bench.figures()
    assert (figures.records, figures.failures) == (8, row.failures)


def test_subsets_of_one_data_set_are_one_row(tmp_path: Path) -> None:
    row = Bench(tmp_path).put([found(), MISSED], subset="a").put([found(), found()], subset="b").row()
    assert (row.seeds, row.estimates["sr_8bit"].value) == (4, 3 / 4)


def test_searchers_that_can_not_be_told_apart_share_a_rank(tmp_path: Path) -> None:
    good, fair, bad = [found()] * 12, [found()] * 11 + [MISSED], [MISSED] * 12
    bench = Bench(tmp_path, [CHASER, CW, DFLARE])
    figures = bench.put(fair, CHASER).put(good, CW).put(bad, DFLARE).figures()
    assert {row.searcher: row.rank for row in figures.rows} == {"difffinder_cw": 1, "diffchaser": 1, "dflare": 3}
    assert [row.searcher for row in figures.rows] == ["diffchaser", "difffinder_cw", "dflare"]
    assert figures.of(PAIR.name)[-1].searcher == "dflare"


def test_of_one_rank_the_nearest_comes_first(tmp_path: Path) -> None:
    figures = Bench(tmp_path, [CW, DFLARE]).put([found(40.0)], CW).put([found(70.0)], DFLARE).figures()
    assert [row.searcher for row in figures.of(PAIR.name)] == ["dflare", "difffinder_cw"]


def test_duels_are_over_the_same_seeds(tmp_path: Path) -> None:
    one = [found(60.0), found(62.0), *[found()] * 8, MISSED, {"error": "endpoint:timeout"}, found()]
    other = [found(50.0), found(48.0), *[MISSED] * 8, found(), found(), {"error": "endpoint:timeout"}]
    (duel,) = Bench(tmp_path, [CW, DFLARE]).put(one, CW).put(other, DFLARE).figures().duels
    assert (duel.first, duel.second, duel.seeds) == ("difffinder_cw", "dflare", 11)
    assert (duel.only_first, duel.only_second) == (8, 1)
    hits = [[row.get("outcome") == "found" for row in said[:11]] for said in (one, other)]
    assert duel.p == pytest.approx(mcnemar(*hits))
    assert (duel.psnr.value, duel.psnr.n) == (12, 2)
    assert 10 <= duel.psnr.low <= 12 <= duel.psnr.high <= 14


def test_duels_of_a_pair_are_adjusted_together(tmp_path: Path) -> None:
    said = {CW: [found()] * 12, DFLARE: [MISSED] * 12, CHASER: [found()] * 9 + [MISSED] * 3}
    bench = Bench(tmp_path, list(said))
    for name, rows in said.items():
        bench.put(rows, name)
    duels = bench.figures().duels
    hits = {name: [row["outcome"] == "found" for row in rows] for name, rows in said.items()}
    raw = [mcnemar(hits[a], hits[b]) for a, b in ((CW, DFLARE), (CW, CHASER), (DFLARE, CHASER))]
    assert [duel.p for duel in duels] == pytest.approx(holm(raw))
    assert [duel.p for duel in duels] != pytest.approx(raw)
    assert math.isnan(duels[0].psnr.value), "no seed that both found from"


def test_pairs_stand_apart(tmp_path: Path) -> None:
    back = Roles(INT8, FLOAT, PAIR.gradient)
    bench = Bench(tmp_path, [CW, DFLARE])
    for roles, hit in ((PAIR, found()), (back, MISSED)):
        bench.put([hit] * 3, CW, roles).put([hit] * 3, DFLARE, replace(roles, gradient=None))
    figures = bench.figures()
    assert figures.pairs == [PAIR.name, back.name]
    assert [row.estimates["sr_8bit"].value for row in figures.rows] == [1, 1, 0, 0]
    assert [duel.roles.name for duel in figures.duels] == figures.pairs


def test_nothing_found_has_no_distances(tmp_path: Path) -> None:
    row = Bench(tmp_path).put([MISSED] * 3).row()
    assert (row.estimates["sr_8bit"].value, row.estimates["sr_float"].value) == (0, 0)
    assert row.rank == 1
    assert row.shown == []
    for name in ("psnr", "ssim", "l2", "linf"):
        assert math.isnan(row.estimates[name].value)
        assert row.estimates[name].n == 0
    assert math.isnan(row.queries["first_black"])
    assert row.queries["black"] == 0
    assert all(point.value == 0 for point in row.curves["black"])


@pytest.mark.parametrize("said", [[], [{"outcome": "pre_existing"}] * 2, [{"error": "image:empty"}]])
def test_without_a_seed_there_is_no_rate(tmp_path: Path, said: list[Mapping[str, object]]) -> None:
    bench = Bench(tmp_path, [CW, DFLARE], protocol="seed").put(said).put(said, DFLARE)
    figures = bench.figures()
    for row in figures.rows:
        assert row.seeds == 0
        assert math.isnan(row.estimates["sr_8bit"].value)
        assert math.isnan(row.queries["black"])
    assert figures.duels[0].p == 1
    assert math.isnan(figures.seed_rows[0].success_rate)


def test_the_seeds_that_most_searchers_found_from_are_shown(tmp_path: Path) -> None:
    many = MOST_SHOWN + 3
    one = [found(png=picture(place)) for place in range(many)]
    other = [MISSED] * 3 + [found(41.5, png=picture(100 + place)) for place in range(3, many)]
    rows = Bench(tmp_path, [CW, DFLARE]).put(one, CW).put(other, DFLARE).figures().rows
    wanted = [f"photos/{place}.png" for place in range(3, many)]
    for row, first in zip(rows, (0, 100), strict=True):
        assert [item.sample for item in row.shown] == wanted
        assert [item.png for item in row.shown] == [picture(first + place) for place in range(3, many)]
    assert (rows[1].shown[0].white_class, rows[1].shown[0].black_class, rows[1].shown[0].psnr) == (1, 0, 41.5)


CLAIM = {"black": INT8, "c": 1, "iterations": 50, "images": 1000, "psnr": 48.8, "ssim": 0.99, "success_rate": 0.992}


def counted(tmp_path: Path) -> Bench:
    """Two changed of which one did not hold, one failure, one that is no seed."""
    said = [
        found(float_psnr=50.0, float_ssim=0.9),
        lost(float_psnr=40.0, float_ssim=0.5),
        {**MISSED, "float_psnr": 99.0, "float_ssim": 0.1},
        {"outcome": "pre_existing"},
        {"error": "answer:not_finite"},
    ]
    claims = [{**CLAIM, "iterations": 200}, {**CLAIM, "c": 10}, CLAIM]
    bench = Bench(tmp_path, [CW, DFLARE], protocol="seed", claims=claims)
    return bench.put(said).put([found()] * 5, DFLARE)


def test_the_published_table_is_counted_by_its_own_rules(tmp_path: Path) -> None:
    one, other, third = counted(tmp_path).figures().seed_rows
    assert (one.black, one.c, one.iterations, one.images, one.measured) == (INT8, 1, 50, 3, True)
    assert one.psnr == pytest.approx((50 + 40) / 2)
    assert one.ssim == pytest.approx((0.9 + 0.5 + 1) / 3)
    assert one.success_rate == pytest.approx(2 / 3)
    assert one.claim is not None
    assert (one.claim.c, one.claim.iterations) == (1, 50)
    assert (other.iterations, other.images, other.measured) == (200, 0, False)
    assert (third.c, third.iterations, third.images) == (10, 50, 0)
    assert math.isnan(other.psnr)


def test_made_up_weights_measure_no_claim(tmp_path: Path) -> None:
    for name in (FLOAT, INT8):
        bench = counted(tmp_path / name)
        bench.cards[name] = card(name, weights="seeded:0")
        one, *_ = bench.figures().seed_rows
        assert not one.measured
        assert one.images == 3
        first, second, _ = of_kind(sections(bench.figures()), Table)["t_as_published"].rows
        assert first["standing"] == "not measured here: these weights are not trained ones"
        assert second["standing"] == "not measured here"


def test_another_search_is_no_row_of_the_published_table(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SHORT, DFLARE], protocol="seed", claims=[CLAIM])
    rows = bench.put([found()], SHORT).put([found()], DFLARE).figures().seed_rows
    assert [(row.iterations, row.claim is None, row.measured) for row in rows] == [(10, True, True), (50, False, False)]


def test_the_published_table_is_only_there_when_asked_for(tmp_path: Path) -> None:
    figures = Bench(tmp_path, claims=[CLAIM]).put([found()]).figures()
    assert figures.seed_rows == []
    assert not any("Diff-Finder" in section.title for section in sections(figures))


def sections(found: Disagreement, tiles: Mapping[str, Sequence[Tile]] | None = None) -> list[Section]:
    return list(disagreement_sections(found, tiles or {}, many=False))


B = TypeVar("B", Table, Curves, Sheet)


def of_kind(laid_out: Sequence[Section], kind: type[B]) -> dict[str, B]:
    return {block.name: block for section in laid_out for block in section.blocks if isinstance(block, kind)}


def words(laid_out: Sequence[Section]) -> list[str]:
    return [block.body for section in laid_out for block in section.blocks if isinstance(block, Text)]


def test_the_report_says_that_nothing_was_found(tmp_path: Path) -> None:
    figures = Bench(tmp_path, [CW, DFLARE]).put([MISSED] * 3).put([lost(), MISSED, MISSED], DFLARE).figures()
    (said,) = words(sections(figures))
    assert said.startswith("Nothing was found in 6 searches")
    assert said.endswith("They may be the same model.")


def test_the_report_says_that_there_was_no_seed(tmp_path: Path) -> None:
    laid_out = sections(Bench(tmp_path).put([{"outcome": "pre_existing"}] * 3).figures())
    assert words(laid_out) == ["There was no seed to search from: see what became of the images."]
    (row,) = of_kind(laid_out, Table)["t_outcomes"].rows
    assert (row["seeds"], row["pre_existing"], row["found"]) == (0, 3, 0)
    (row,) = of_kind(laid_out, Table)["t_0_leaderboard"].rows
    assert row["black"] is None


def test_the_report_says_no_more_than_there_is(tmp_path: Path) -> None:
    laid_out = sections(Bench(tmp_path).put([found(), MISSED]).figures())
    assert words(laid_out) == []
    tables = of_kind(laid_out, Table)
    assert set(tables) == {"t_0_leaderboard", "t_outcomes", "t_costs"}, "one searcher has no rival"
    keys = {column.key for column in tables["t_outcomes"].columns}
    assert not keys & {"failed", "why", *NO_SEED}
    assert {"found", "not_found", "lost_on_rounding", "lost_on_reserving"} <= keys


def test_the_report_names_failures(tmp_path: Path) -> None:
    said = [found(), {"error": "image:truncated"}, {"error": "image:truncated"}]
    (row,) = of_kind(sections(Bench(tmp_path).put(said, missing=1).figures()), Table)["t_outcomes"].rows
    assert (row["failed"], row["why"]) == (3, "2 image:truncated, 1 missing")


def test_the_board_has_every_column_of_every_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [CW, DFLARE])
    spent = {"black_queries": 3, "white_queries": 7, "gradients": 2}
    figures = bench.put([found(**spent)] * 2).put([MISSED] * 2, DFLARE).figures()
    board = of_kind(sections(figures), Table)["t_0_leaderboard"]
    for row in board.rows:
        assert {column.key for column in board.columns} <= row.keys()
    assert (board.rows[0]["black"], board.rows[0]["white"], board.rows[0]["gradients"]) == ("3 (3)", "7 (7)", "2 (2)")
    assert board.title == PAIR.name


def test_there_are_two_curves_a_pair_and_a_duel_for_two_searchers(tmp_path: Path) -> None:
    figures = Bench(tmp_path, [CW, DFLARE]).put([found()]).put([MISSED], DFLARE).figures()
    laid_out = sections(figures)
    curves = of_kind(laid_out, Curves)
    assert set(curves) == {"t_0_budget_black", "t_0_budget_all"}
    assert all(set(item.series) == {"difffinder_cw", "dflare"} for item in curves.values())
    (duel,) = of_kind(laid_out, Table)["t_duels"].rows
    assert (duel["first"], duel["second"], duel["only_first"]) == ("difffinder_cw", "dflare", 1)


def test_headings_name_their_task_among_others(tmp_path: Path) -> None:
    figures = Bench(tmp_path).put([found()]).figures()
    tiles = {PAIR.name: (Tile(picture(1), "a"),)}
    for section in disagreement_sections(figures, tiles, many=True):
        assert section.title.startswith("t: ")
    assert set(of_kind(sections(figures, tiles), Sheet)) == {"t_0_found"}


@pytest.fixture
def seeds(tmp_path: Path) -> Dataset:
    """Four grey images, one of them wider than the models take."""
    (tmp_path / "images" / "photos").mkdir(parents=True)
    for place in range(4):
        pixels = np.full((SIDE, SIDE + 8 * (place == 1), 3), 100, np.uint8)
        PILImage.fromarray(pixels).save(tmp_path / "images" / "photos" / f"{place}.png")
    rows = "".join(f"photos/{place}.png,0,photos\n" for place in range(4))
    (tmp_path / "images" / "m.csv").write_text(f"path,label,subset\n{rows}")
    spec = DataSpec(layout="manifest", root="images/m.csv")
    return open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())


def opened(tile: Tile) -> np.ndarray:
    return np.asarray(PILImage.open(io.BytesIO(tile.image_png)))


def test_a_sheet_shows_originals_then_what_was_found_above_its_difference(tmp_path: Path, seeds: Dataset) -> None:
    changed = np.full((SIDE, SIDE, 3), 100, np.uint8)
    changed[0, 0], changed[0, 1] = 103, 99
    buffer = io.BytesIO()
    PILImage.fromarray(changed).save(buffer, "png")
    bench = Bench(tmp_path / "s", [CW, DFLARE]).put([MISSED, found(png=buffer.getvalue())]).put([MISSED] * 2, DFLARE)
    original, tile = search_tiles(bench.figures().rows, CARDS, seeds, "test")
    assert (original.caption, original.detail) == ("photos/1.png", "original")
    assert opened(original).shape == (SIDE, SIDE, 3)
    assert tile.caption == "difffinder_cw"
    assert tile.detail == "elm / ash; 60.0 dB, difference x 42.3"
    shown = opened(tile)
    assert shown.shape == (2 * SIDE, SIDE, 3)
    np.testing.assert_array_equal(shown[:SIDE], changed)
    gain = 127 / 3
    assert (shown[SIDE, 0] == 255).all()
    assert (shown[SIDE, 1] == int(128 - gain)).all()
    assert (shown[SIDE + 1 :] == 128).all()


def test_a_seed_that_is_gone_is_left_out_of_the_sheet(tmp_path: Path, seeds: Dataset) -> None:
    (tmp_path / "images" / "photos" / "0.png").unlink()
    rows = Bench(tmp_path / "s").put([found(), found()]).figures().rows
    assert [tile.caption for tile in search_tiles(rows, CARDS, seeds, "test")] == ["photos/1.png", "difffinder_cw"]


def test_no_picture_where_nothing_was_found(tmp_path: Path, seeds: Dataset) -> None:
    rows = Bench(tmp_path / "s").put([MISSED]).figures().rows
    assert list(search_tiles(rows, CARDS, seeds, "test")) == []
