"""Comparisons over records in real stores: what is joined, what is tested, and how often chance is called a change."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from harness.baselines import Side
from harness.card import Card, Head
from harness.compare import Comparison, compare
from harness.comparison.change import Change, Floors
from harness.errors import HarnessError, StoreError
from harness.events import Silent
from harness.stats import holm, wilson
from harness.store.records import Record
from harness.store.runs import RunStore
from tests.unit.comparison.runs_by_hand import DETECTION, classified, detected, key, mixed, write_run

FLOORS = Floors()
ATTRIBUTION = {"kind": "attribution", "name": "t", "data": "d"}


def of(found: Comparison, figure: str, subset: str = "") -> Change:
    (change,) = (item for item in found.changes if (item.figure, item.place.subset) == (figure, subset))
    return change


def held(before: Side, after: Side, **options: object) -> Comparison:
    return compare(before, after, Silent(), **options)  # type: ignore[arg-type]


def test_figures_of_both_runs_are_over_the_images_that_both_answered(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(0, 1, 60), random.normal(1.5, 1, 60)
    moved = fake + random.normal(-0.4, 0.3, 60)
    before = detected(tmp_path, "a", {"nature": list(real), "gan": [None, *fake[1:]]})
    after = detected(tmp_path, "b", {"nature": list(real), "gan": [*moved[:59], None]})
    found = held(before, after)
    labels = np.r_[np.zeros(60), np.ones(58)]
    a, b = np.r_[real, fake[1:59]], np.r_[real, moved[1:59]]
    for figure, reference in (("auroc", roc_auc_score), ("balanced_accuracy", None)):
        wanted = [reference(labels, x) if reference else balanced_accuracy_score(labels, x > 0.5) for x in (a, b)]
        change = of(found, figure)
        assert (change.before, change.after) == pytest.approx(wanted)
        assert change.change.value == pytest.approx(wanted[1] - wanted[0])
        assert change.change.low <= change.change.value <= change.change.high
    accuracy = of(found, "accuracy")
    flipped = int(((a > 0.5) != (b > 0.5)).sum())
    flips = of(found, "flips")
    assert (flips.after, flips.change.n) == (flipped, 118)
    assert (flips.change.low, flips.change.high) == (wilson(flipped, 118).low, wilson(flipped, 118).high)
    assert of(found, "agreement").change.value == pytest.approx(1 - flipped / 118)
    better = int(((b > 0.5) == labels).sum() - ((a > 0.5) == labels).sum())
    assert accuracy.change.value == pytest.approx(better / 118)
    failures = of(found, "failures")
    assert (failures.before, failures.after) == (1, 1)
    assert round(failures.change.value * failures.change.n) == 1, "one image fails that did not before"
    tested = [item for item in found.changes if not math.isnan(item.p)]
    assert {item.figure for item in tested} == {"accuracy", "balanced_accuracy", "auroc"}
    assert [item.adjusted for item in tested] == pytest.approx(holm([item.p for item in tested]))


def test_accuracy_has_mcnemars_exact_p(tmp_path: Path) -> None:
    said = np.arange(200) % 5
    before = classified(tmp_path, "a", list(said), list(said))
    wrong = said.copy()
    wrong[:9] = (wrong[:9] + 1) % 5
    found = held(before, classified(tmp_path, "b", list(wrong), list(said)))
    change = of(found, "top1")
    assert change.p == pytest.approx(binomtest(0, 9).pvalue)
    assert (change.before, change.after, of(found, "flips").after) == (1.0, 191 / 200, 9)
    assert change.verdict(FLOORS) == "worse"
    assert change.verdict(Floors(share=0.05)) == "small"


def test_each_generator_stands_beside_its_reals(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    subsets = {"nature": random.normal(0, 1, 40), "gan": random.normal(1, 1, 40), "vq": random.normal(2, 1, 40)}
    before = detected(tmp_path, "a", {name: list(values) for name, values in subsets.items()})
    after = detected(tmp_path, "b", {name: list(values + 0.01) for name, values in subsets.items()})
    found = held(before, after)
    assert {item.place.subset for item in found.changes} == {"", "gan", "vq"}
    assert (of(found, "accuracy").change.n, of(found, "accuracy", "vq").change.n) == (120, 80)


def test_identical_cells_are_not_tested(tmp_path: Path) -> None:
    first = detected(tmp_path, "a", {"nature": [0.1, 0.2, 0.9], "gan": [0.8, None, 0.4]})
    again = write_run(tmp_path, "b", first.info.cells)
    found = held(first, again)
    assert (found.identical, found.cells) == (2, 2)
    assert {item.verdict(FLOORS) for item in found.changes} == {"identical"}
    assert all(math.isnan(item.p) and math.isnan(item.adjusted) for item in found.changes)
    assert of(found, "accuracy").after == pytest.approx(3 / 5)
    moved = write_run(tmp_path, "c", first.info.cells, [{**DETECTION, "threshold": {"kind": "fixed", "value": 0.85}}])
    assert of(held(first, moved), "accuracy").verdict(FLOORS) != "identical", "cut elsewhere: other decisions"


def test_one_key_in_two_stores_is_held_record_by_record(tmp_path: Path) -> None:
    scores = {"nature": [0.1, 0.2, 0.9], "gan": [0.8, None, 0.4]}
    first = detected(tmp_path / "a", "r", scores)
    assert held(first, detected(tmp_path / "b", "r", scores)).identical == 2
    found = held(first, detected(tmp_path / "c", "r", {**scores, "gan": [0.8, None, 0.6]}))
    assert (found.identical, of(found, "flips").after) == (1, 1)
    assert "1 cells of the same weights" in found.notes[0]


def test_data_that_is_not_what_it_was_is_told_of(tmp_path: Path) -> None:
    scores = {"nature": [0.1, 0.2], "gan": [0.8, 0.9]}
    sides = [detected(tmp_path, run, scores, data=data) for run, data in
             (("a", {"d": "1" * 64}), ("b", {"d": "2" * 64}), ("c", {}))]  # fmt: skip
    assert held(sides[0], sides[0]).notes == held(sides[0], sides[2]).notes == ()
    (note,) = held(*sides[:2]).notes
    assert "data d is not what it was (digest 11111111, now 22222222)" in note


def attributed(root: Path, run: str, scores: Sequence[Sequence[float]], sources: Sequence[str]) -> Side:
    """Write a run of an attributor of three sources: what it said of images of some, of each four."""
    store, cells = RunStore(root).cells, {}
    for source in dict.fromkeys(sources):
        name = f"t/m.x/{source}/test/none/batch 8"
        cells[name] = key(f"{run}-{source}")
        rows = [row for row, made in zip(scores, sources, strict=True) if made == source]
        records = [Record(i, f"{source}/{i}.png", f"{source}{i // 2}", 1, row) for i, row in enumerate(rows)]
        store.append(cells[name], records)
    card = Card(name="m.x", task="attribution", score="logit", classes=("gan", "vq", "flow"), heads=())
    return write_run(root, run, cells, [ATTRIBUTION], {"m.x": card})


def test_attribution_counts_images_of_sources_that_are_known(tmp_path: Path) -> None:
    """Of 12 images of gan and vq, the second run gives two others to another source; nobody knows `new`."""
    sources = ["gan"] * 6 + ["vq"] * 6 + ["new"] * 4
    truth = np.array([0] * 6 + [1] * 6 + [2] * 4)
    later = truth.copy()
    later[[0, 1, 7, 12]] = [1, 1, 2, 0]
    before, after = (
        attributed(tmp_path, run, np.eye(3)[said].tolist(), sources) for run, said in (("a", truth), ("b", later))
    )
    found = held(before, after)
    accuracy = of(found, "accuracy")
    assert (accuracy.before, accuracy.after, accuracy.change.n) == (1.0, 9 / 12, 12)
    assert (of(found, "flips").after, of(found, "flips").change.n) == (4, 16)
    assert of(found, "accuracy", "gan").after == pytest.approx(4 / 6)
    assert of(found, "agreement", "vq").after == pytest.approx(5 / 6)
    assert not [item for item in found.changes if (item.figure, item.place.subset) == ("accuracy", "new")]


def test_models_meet_by_name_or_as_they_are_mapped(tmp_path: Path) -> None:
    before = detected(tmp_path, "a", {"nature": [0.1, 0.2], "gan": [0.8, 0.9]})
    served = Card(name="m.served", score="statistic", heads=(Head(name="other", threshold=0.5),))
    after = detected(tmp_path, "b", {"nature": [0.1, 0.2], "gan": [0.8, 0.3]}, "m.served", cards={"m.served": served})
    with pytest.raises(HarnessError, match="tasks in common"):
        held(before, after)
    found = held(before, after, models={"m.served": "m.x"})
    assert found.changes[0].place.model == "m.x -> m.served"
    assert of(found, "flips").after == 1
    assert not found.notes
    with pytest.raises(HarnessError, match="a model of a"):
        held(before, after, models={"m.served": "m.y"})


def test_scores_of_a_model_whose_fakes_are_low_are_turned(tmp_path: Path) -> None:
    low = Card(name="m.x", score="statistic", fake="low", heads=(Head(name="fake", threshold=-0.5),))
    before = detected(tmp_path, "a", {"nature": [0.1, 0.2], "gan": [0.8, 0.9]})
    after = detected(tmp_path, "b", {"nature": [-0.1, -0.2], "gan": [-0.8, -0.9]}, cards={"m.x": low})
    found = held(before, after)
    assert of(found, "flips").after == 0
    assert of(found, "auroc").after == 1.0


def test_a_run_without_cards_says_what_to_do(tmp_path: Path) -> None:
    before = detected(tmp_path, "a", {"nature": [0.1], "gan": [0.8]})
    bare = write_run(tmp_path, "b", before.info.cells, cards={"m.other": Card(name="m.other")})
    with pytest.raises(StoreError, match=r"the card of m\.x.*harness run suite\.yaml"):
        held(before, bare)


def test_where_nothing_changed_changes_are_called_at_the_stated_rate(tmp_path: Path) -> None:
    """200 A/A comparisons of two models that err alike, not on the same images."""
    random = np.random.default_rng(7)
    alarms, repeats, labels = 0, 200, [0, 1] * 40
    for repeat in range(repeats):
        hard = random.normal(labels, 1)
        runs = [mixed(tmp_path, f"{repeat}{side}", labels, hard + random.normal(0, 0.6, 80)) for side in "ab"]
        alarms += any(item.adjusted < 0.05 for item in held(*runs).changes)
    assert alarms <= binom.ppf(0.999, repeats, 0.05), f"{alarms} of {repeats} A/A comparisons called a change"


def test_a_loss_of_two_points_on_two_thousand_images_is_caught(tmp_path: Path) -> None:
    """The models agree but on 60 of 2,000 images, 50 of which the second one alone has wrong."""
    random = np.random.default_rng(3)
    label = np.repeat([0, 1], 1000)
    right = random.random(2000) < 0.9
    chosen_right, chosen_wrong = np.flatnonzero(right), np.flatnonzero(~right)
    later = right.copy()
    later[random.choice(chosen_right, 50, replace=False)] = False
    later[random.choice(chosen_wrong, 10, replace=False)] = True
    runs = []
    for side, good in (("a", right), ("b", later)):
        scores = np.where(good == (label == 1), 0.9, 0.1) + random.normal(0, 0.01, 2000)
        runs.append(detected(tmp_path, side, {"nature": list(scores[:1000]), "gan": list(scores[1000:])}))
    change = of(held(*runs), "accuracy")
    assert change.change.value == pytest.approx(-0.02)
    assert change.verdict(FLOORS) == "worse"
    assert change.adjusted < 0.001
