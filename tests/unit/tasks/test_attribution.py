"""Figures of attributors over records in a real store, small enough to be worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, recall_score, roc_auc_score

from harness.attributors import (
    candidates,
    check_attributors,
    designs_of,
    families_of,
    method_of,
    source_of,
    trainings,
)
from harness.card import Card
from harness.errors import CardError, DataError, SuiteError
from harness.spec.tasks import AttributionTask
from harness.tasks.attribution import MARGIN
from harness.tasks.plane import lay_out
from harness.tasks.told import ACCURACY, BALANCED, FAMILIES, family_of, read_told, recall_of
from tests.unit.attributions import DESIGNS, SOURCES, Bench, attributor, logits

CHOICE = {"calibration": "val", "methods": ["mani*"], "baselines": ["base*"], "designs": DESIGNS}
BEST, OTHER = "mani.mini", "base.mini"


def compared(root: Path, best: float = 3.0, other: float = 1.0, seeds: int = 2, **options: object) -> Bench:
    bench = Bench(root, **{**CHOICE, **options})
    for seed in range(seeds):
        bench.drawn(f"{BEST}_s{seed}", best, seed).drawn(f"{OTHER}_s{seed}", other, 50 + seed)
    return bench


@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("mani.mini_s0", "mani.mini"),
        ("mani.mini_s12", "mani.mini"),
        ("mani.mini_s0@served", "mani.mini@served"),
        ("mani.mini", "mani.mini"),
        ("mani_s0.mini", "mani_s0.mini"),
    ],
)
def test_trainings_are_told_by_their_seed(model: str, method: str) -> None:
    assert method_of(model) == method


def test_trainings_of_a_method_stand_together() -> None:
    assert trainings(["a.x_s0", "b.x", "a.x_s1"]) == {"a.x": ["a.x_s0", "a.x_s1"], "b.x": ["b.x"]}


def test_real_images_of_any_generator_are_nature() -> None:
    assert [source_of(name) for name in ("nature:gan", "nature", "gan")] == ["nature", "nature", "gan"]


def test_figures_by_hand(tmp_path: Path) -> None:
    said = {
        "nature": ["nature", "nature", "nature", "vq"],
        "deconv": ["deconv", "vq"],
        "vq": ["vq", "gan", None, "vq"],
    }
    (row,) = Bench(tmp_path, designs=DESIGNS).put("a.b", said).figures().methods
    value = {key: item.value for (_, key), item in row.estimates.items()}
    assert (row.images, row.failed, row.sources, row.unseen) == (9, 1, ("nature", "deconv", "vq"), ())
    assert value[ACCURACY] == pytest.approx(6 / 9)
    assert value[BALANCED] == pytest.approx((3 / 4 + 1 / 2 + 2 / 3) / 3)
    assert value[FAMILIES] == pytest.approx(7 / 9)
    assert value[family_of("autoencoder")] == pytest.approx(4 / 5)
    assert value[family_of("nature")] == value[recall_of("nature")] == pytest.approx(3 / 4)
    assert row.confusion[row.sources.index("vq")].tolist() == pytest.approx([0, 0, 2 / 3, 1 / 3, 0])
    assert math.isnan(row.calibration)


def test_figures_are_scikit_learns(tmp_path: Path) -> None:
    bench = Bench(tmp_path).drawn("a.b", 1.0, 0, splits=["test"], subsets=["nature:gan", *SOURCES[1:]])
    (row,) = bench.figures().methods
    told = read_told(bench.store, bench.cells, attributor())
    truth, said = told.truth.tolist(), told.said.tolist()
    assert row.accuracy.value == pytest.approx(accuracy_score(truth, said))
    assert row.estimates["none", BALANCED].value == pytest.approx(balanced_accuracy_score(truth, said))
    for name, recall in zip(SOURCES, recall_score(truth, said, labels=SOURCES, average=None), strict=True):
        assert row.estimates["none", recall_of(name)].value == pytest.approx(recall)
    wanted = confusion_matrix(truth, said, labels=SOURCES, normalize="true")
    assert row.confusion == pytest.approx(wanted)


def test_the_order_of_records_changes_nothing(tmp_path: Path) -> None:
    said = {name: logits(name, 12, 1.5, 0) for name in SOURCES}
    there, back = (
        Bench(tmp_path / str(place), designs=DESIGNS).put("a.b", said, order=order).figures()
        for place, order in enumerate((range(12), range(11, -1, -1)))
    )
    for key, item in there.methods[0].estimates.items():
        assert back.methods[0].estimates[key] == item
    planes = [lay_out(found.shown, SOURCES, 0) for found in (there, back)]
    sets = [{name: set(points) for name, points in plane.items()} for plane in planes]
    assert sets[0] == sets[1]


def test_trainings_of_a_method_are_averaged_and_widen_its_interval(tmp_path: Path) -> None:
    good, bad = ({name: [answer] * 6 for name in SOURCES} for answer in ("gan", "none"))
    good |= {name: [name] * 6 for name in SOURCES}
    bench = Bench(tmp_path).put("a.b_s0", good).put("a.b_s1", bad | {"gan": ["gan"] * 6})
    (row,) = bench.figures().methods
    assert row.models == ("a.b_s0", "a.b_s1")
    assert row.accuracy.value == pytest.approx((1 + 2 / 5) / 2)
    assert row.accuracy.low == pytest.approx(2 / 5)
    assert row.accuracy.high == 1


def test_the_best_are_chosen_on_the_calibration_split(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **CHOICE)
    for name, val, test in (("mani_a.x", 3, 1), ("mani_b.x", 1, 3), ("base.x", 0.5, 0.5)):
        bench.drawn(name, val, 1, splits=["val"]).drawn(name, test, 2, splits=["test"])
    against = bench.figures().against
    assert against is not None
    assert (against.method, against.baseline) == ("mani_a.x", "base.x")


def test_a_better_method_holds(tmp_path: Path) -> None:
    found = compared(tmp_path).figures()
    against = found.against
    assert against is not None
    best, other = found.methods
    assert (best.name, other.name) == (BEST, OTHER)
    assert found.ranks == {BEST: 1, OTHER: 2}
    assert against.difference.value == pytest.approx(best.accuracy.value - other.accuracy.value)
    assert MARGIN < against.difference.low < against.difference.value < against.difference.high
    assert against.holds
    assert len(against.mcnemar) == 2
    assert set(against.parts) == {"nature", "autoencoder", "gan", "flow"}
    weighted = sum(item.value * item.n for item in against.parts.values()) / 200
    families = {"nature": 1, "autoencoder": 2, "gan": 1, "flow": 1}
    assert {name: item.n // 40 for name, item in against.parts.items()} == families
    assert weighted != pytest.approx(0)
    assert found.pictured == f"{BEST}_s0"


def test_mcnemar_is_the_exact_binomial_test(tmp_path: Path) -> None:
    bench = compared(tmp_path, 1.2, 1.0, seeds=1)
    found = bench.figures()
    right = [
        item.truth == item.said
        for model in (f"{BEST}_s0", f"{OTHER}_s0")
        for item in [
            read_told(bench.store, [c for c in bench.cells if (c.model, c.split) == (model, "test")], attributor())
        ]
    ]
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert found.against is not None
    assert found.against.mcnemar == pytest.approx([binomtest(first, first + second).pvalue])


def test_what_is_alike_does_not_hold_and_shares_a_rank(tmp_path: Path) -> None:
    found = compared(tmp_path, 1.0, 1.0).figures()
    assert found.against is not None
    assert not found.against.holds
    assert found.against.p > 0.05
    assert set(found.ranks.values()) == {1}


def test_a_gain_below_the_margin_does_not_hold(tmp_path: Path) -> None:
    said = {name: [name] * 60 for name in SOURCES}
    worse = said | {"gan": ["flow"] * 10 + ["gan"] * 50}
    bench = Bench(tmp_path, **CHOICE)
    for split in ("val", "test"):
        bench.put("mani.x", said, split).put("base.x", worse, split)
    against = bench.figures().against
    assert against is not None
    assert against.difference.value == pytest.approx(10 / 300)
    assert against.significant
    assert not against.holds
    assert against.parts["gan"].value == pytest.approx(1 / 6)
    assert against.parts["flow"].value == 0


class TestOpenSet:
    KNOWN = tuple(name for name in SOURCES if name != "gan")

    def bench(self, root: Path, **options: object) -> Bench:
        return Bench(root, calibration="val", **options)

    def test_rates_and_auroc(self, tmp_path: Path) -> None:
        skill = {**dict.fromkeys(SOURCES, 4.0), "gan": 0.0}
        bench = self.bench(tmp_path, fpr=0.1)
        bench.drawn("a.open_s0", skill, 0, classes=self.KNOWN, count=200)
        (found,) = (figures := bench.figures()).open_sets
        told = [
            read_told(bench.store, [cell for cell in bench.cells if cell.split == split], attributor(self.KNOWN))
            for split in ("val", "test")
        ]
        known, unknown = told[1].known, told[1].truth == "gan"
        calibration, tested = (np.exp(item.logs.max(axis=1)) for item in told)
        threshold = np.quantile(calibration[told[0].known], 0.1, method="inverted_cdf")
        assert found.auroc.value == pytest.approx(roc_auc_score(unknown, -tested))
        assert found.false_alarms.value == pytest.approx((tested[known] < threshold).mean(), abs=0.002)
        assert found.detected["gan"].value == pytest.approx((tested[unknown] < threshold).mean(), abs=0.01)
        assert 0.05 < found.false_alarms.value < 0.15
        assert found.detected["gan"].low < found.detected["gan"].value < found.detected["gan"].high
        (row,) = figures.methods
        assert (row.unseen, row.images) == (("gan",), 800)
        assert row.name not in figures.ranks

    def test_the_threshold_keeps_to_the_rate_on_the_split_that_it_is_set_on(self, tmp_path: Path) -> None:
        bench = self.bench(tmp_path, fpr=0.05)
        for split in ("val", "test"):
            said = {name: logits(name, 80, 2.0, 7, self.KNOWN) for name in SOURCES}
            bench.put("a.open", said, split, card=attributor(self.KNOWN))
        (found,) = bench.figures().open_sets
        assert 0.03 < found.false_alarms.value <= 0.05

    def test_trainings_are_averaged(self, tmp_path: Path) -> None:
        values = []
        for models in (["a.open_s0"], ["a.open_s1"], ["a.open_s0", "a.open_s1"]):
            bench = self.bench(tmp_path / "-".join(models))
            for model in models:
                bench.drawn(model, {**dict.fromkeys(SOURCES, 3.0), "gan": 0.0}, int(model[-1]), classes=self.KNOWN)
            values.append(bench.figures().open_sets[0].detected["gan"].value)
        assert values[2] == pytest.approx((values[0] + values[1]) / 2)

    def test_who_knows_all_has_no_unknown_ones(self, tmp_path: Path) -> None:
        assert self.bench(tmp_path).drawn("a.b", 1.0, 0).figures().open_sets == []

    def test_a_calibration_without_answers_is_refused(self, tmp_path: Path) -> None:
        bench = self.bench(tmp_path).drawn("a.open", 1.0, 0, classes=self.KNOWN, splits=["test"])
        bench.put("a.open", {name: [None] for name in SOURCES}, "val", card=attributor(self.KNOWN))
        with pytest.raises(DataError, match="calibration: expected answered images of known sources"):
            bench.figures()


class TestDesigns:
    def test_sources_cluster_by_what_made_them(self, tmp_path: Path) -> None:
        names = [f"{up}_{place}" for up in ("near", "trans") for place in range(4)]
        classes = ("nature", *names)
        designs = {name: {"up": name.partition("_")[0], "place": name[-1], "same": "x"} for name in names}
        alike = {name: [other.partition("_")[0] == name.partition("_")[0] for other in classes] for name in names}
        random = np.random.default_rng(0)
        said = {name: 3 * np.array(alike[name]) + random.normal(size=(20, 9)) for name in names}
        said["nature"] = 6 * (np.array(classes) == "nature") + random.normal(size=(20, 9))
        bench = Bench(tmp_path, designs=designs).put("a.b", said, card=attributor(classes))
        (found,) = bench.figures().groupings
        choices = {item.name: item for item in found.choices}
        assert set(choices) == {"up", "place"}, "one value says nothing"
        assert choices["up"].found.nmi == pytest.approx(1)
        assert (choices["up"].values, choices["up"].generators) == (2, 8)
        assert choices["up"].p < 0.07
        assert choices["place"].p > 0.5
        assert set(found.tree.order) == set(classes)

    def test_distances_of_trainings_count_alike(self, tmp_path: Path) -> None:
        said = {name: logits(name, 30, 2.0, 0) for name in SOURCES}
        (one,) = Bench(tmp_path / "1").put("a.b_s0", said).figures().groupings
        louder = {name: 50 * answers for name, answers in said.items()}
        (both,) = Bench(tmp_path / "2").put("a.b_s0", said).put("a.b_s1", louder).figures().groupings
        assert [merge.distance for merge in both.tree.merges] == pytest.approx(
            [merge.distance for merge in one.tree.merges], rel=1e-4
        )

    def test_of_two_sources_there_is_nothing_to_cluster(self, tmp_path: Path) -> None:
        said = {name: [name] * 3 for name in SOURCES[:2]}
        assert Bench(tmp_path).put("a.b", said).figures().groupings == []

    def test_the_miniatures_designs_have_families(self) -> None:
        task = AttributionTask.model_validate({"kind": "attribution", "data": "d", "designs": "miniature"})
        families = families_of(designs_of(task), ["nature", "gan", "unheard_of"])
        assert families == {"nature": "nature", "gan": "gan"}

    def test_without_designs_there_are_no_families(self) -> None:
        assert families_of({}, SOURCES) == {}


class TestPlane:
    def test_few_images_make_no_picture(self, tmp_path: Path) -> None:
        found = Bench(tmp_path).put("a.b", {name: [name] for name in SOURCES}).figures()
        assert lay_out(found.shown, SOURCES, 0) == {}

    def test_alike_answers_lie_together(self, tmp_path: Path) -> None:
        found = Bench(tmp_path).drawn("a.b", 12.0, 0, splits=["test"], count=25).figures()
        plane = lay_out(found.shown, found.sources, 0)
        middles = {name: np.mean(points, axis=0) for name, points in plane.items()}
        assert list(middles) == list(SOURCES)
        for name, points in plane.items():
            nearest = [min(middles, key=lambda other: np.linalg.norm(middles[other] - point)) for point in points]
            assert np.mean([item == name for item in nearest]) > 0.9


def card(**said: object) -> Card:
    return Card.model_validate({"name": "a.b", "task": "attribution", "classes": SOURCES, "heads": (), **said})


def task(**said: object) -> AttributionTask:
    return AttributionTask.model_validate({"kind": "attribution", "data": "d", **said})


@pytest.mark.parametrize(
    ("cards", "tested", "said"),
    [
        ({"a.b": card(task="classification")}, SOURCES, "a.b: expected an attributor, got task classification"),
        ({"a.b": card(classes=("gan",))}, SOURCES, "a.b: expected two sources or more to tell apart"),
        ({"a.b": card()}, ["gan"], "a.b: expected two tested sources or more that it knows, got ['gan']"),
        ({"a.b": card()}, ["dalle", "gan"], "two tested sources or more that it knows, got ['gan']"),
        ({"a.b_s0": card(), "a.b_s1": card(classes=SOURCES[:3])}, SOURCES, "expected the sources of one method, a.b"),
    ],
)
def test_what_can_not_be_attributed_is_refused(cards: dict[str, Card], tested: list[str], said: str) -> None:
    with pytest.raises((CardError, SuiteError)) as caught:
        check_attributors(task(), cards, tested)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"methods": ["mini*"], "baselines": ["base*"]}, "'mini*', which matches none"),
        ({"methods": ["*"], "baselines": ["base*"]}, "expected each method on one side, got ['base.x'] on both"),
        ({"methods": ["open*"], "baselines": ["base*"]}, "a method that knows every tested source"),
        ({"designs": {"gam": {"family": "gan"}}}, "Did you mean 'gan'?"),
    ],
)
def test_a_task_that_names_what_is_not_there_is_refused(said: dict[str, object], message: str) -> None:
    cards = {"mani.x_s0": card(), "mani.x_s1": card(), "base.x": card(), "open.x": card(classes=SOURCES[:4])}
    with pytest.raises(SuiteError) as caught:
        check_attributors(task(**said), cards, SOURCES)
    assert message in str(caught.value)


def test_those_that_do_not_know_a_source_are_no_candidates() -> None:
    cards = {"mani.x_s0": card(), "mani.open": card(classes=SOURCES[:4]), "base.x": card()}
    assert candidates(task(methods=["mani*"], baselines=["base*"]), cards, SOURCES) == (["mani.x"], ["base.x"])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"calibration": "val", "split": "val"}, "split that is tested"),
        ({"methods": ["a*"]}, "both or neither"),
        ({"methods": ["a*"], "baselines": ["b*"], "calibration": None}, "name one"),
        ({"degradations": ["jpeg quality=65"]}, "`none` must be among"),
        ({"designs": "mini"}, "designs"),
        ({"fpr": 0}, "fpr"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(**said)


def test_where_all_fails_there_are_no_figures(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **CHOICE)
    for name in ("mani.x", "base.x"):
        for split in ("val", "test"):
            bench.put(name, {source: [None] * 3 for source in SOURCES}, split)
    found = bench.figures()
    assert found.failures == {"image:empty": 60}
    assert found.ranks == {}
    assert found.against is not None
    assert not found.against.holds
    assert all(math.isnan(item.accuracy.value) for item in found.methods)
    assert len(lay_out(found.shown, found.sources, 0)) == 0
