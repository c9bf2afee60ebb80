"""Figures of classifiers over records in a real store, small enough to be worked out by hand."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import binomtest

from harness.card import Card
from harness.errors import CardError, DataError, SuiteError
from harness.pairs import pairs_of
from harness.plan import Cell
from harness.spec.suite import SampleSpec
from harness.spec.tasks import ClassificationTask
from harness.stats import holm, wilson
from harness.store.cells import CellStore
from harness.store.records import Record
from harness.tasks.classification import (
    MOST_FLIPS,
    Classification,
    ModelFigures,
    PairFigures,
    evaluate_classes,
)

CLASSES = tuple("abcdefg")
FLOAT, INT8, VARIANT = "net.tv_float", "net.int8", "net.tv_float@batch1"

Said = Sequence[Sequence[float] | int | None]
"""What a model says of each image: its scores, a class that it is sure of, or a failure."""


def toy(name: str, classes: Sequence[str] = CLASSES, score: str = "logit") -> Card:
    return Card(name=name.partition("@")[0], task="classification", classes=tuple(classes), score=score, heads=())


def scores(said: Sequence[float] | int, classes: int = len(CLASSES)) -> list[float]:
    return [5.0 * (place == said) for place in range(classes)] if isinstance(said, int) else list(said)


class Bench:
    """Records of models under conditions, one cell each subset, and the figures of all that was written."""

    def __init__(self, root: Path, **options: object) -> None:
        self.store = CellStore(root)
        self.task = ClassificationTask.model_validate({"kind": "classification", "data": "d", **options})
        self.cells: list[Cell] = []
        self.cards: dict[str, Card] = {}

    def put(
        self,
        model: str,
        said: Said,
        targets: Sequence[int | None],
        condition: str = "none",
        subset: str = "imagenet",
        sources: Sequence[str] = (),
        missing: int = 0,
        card: Card | None = None,
    ) -> "Bench":
        self.cards[model] = card or toy(model)
        key = f"{len(self.cells):02}".ljust(64, "0")
        records = [
            Record(
                position,
                f"{subset}/{position}.png",
                sources[position] if sources else f"{subset}/{position}.png",
                0,
                None if item is None else scores(item, self.cards[model].outputs),
                "image:empty" if item is None else None,
                target=target,
            )
            for position, (item, target) in enumerate(zip(said, targets, strict=True))
        ]
        self.store.append(key, records)
        count = len(records) + missing
        self.cells.append(Cell(key, "c", model, "d", subset, 0, "test", condition, count, SampleSpec(), 8))
        return self

    def figures(self, resamples: int = 200) -> Classification:
        return evaluate_classes(self.task, self.cells, self.cards, self.store, resamples, seed=0)

    def model(self) -> ModelFigures:
        return self.figures().models[0]

    def pair(self) -> PairFigures:
        (found,) = self.figures().pairs
        return found


def value(row: ModelFigures | PairFigures, name: str) -> float:
    return row.estimates[name].value


def test_figures_by_hand(tmp_path: Path) -> None:
    said = [
        [3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0],
        [3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0],
        [3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0],
        [0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0],
    ]
    targets = [0, 4, 5, 2]
    row = Bench(tmp_path).put(FLOAT, said, targets).model()
    assert (row.model, row.condition, row.images, row.failed) == (FLOAT, "none", 4, 0)
    assert value(row, "top1") == 2 / 4
    assert value(row, "top5") == 3 / 4
    logs = log_softmax(np.array(said), axis=1)
    assert value(row, "nll") == pytest.approx(-np.mean([logs[i, t] for i, t in enumerate(targets)]))
    spread, sure = math.exp(logs[0, 0]), math.exp(logs[3, 2])
    assert int(spread * 15) != int(sure * 15)
    assert value(row, "ece") == pytest.approx((abs(1 - 3 * spread) + (1 - sure)) / 4)
    interval = wilson(2, 4)
    assert (row.estimates["top1"].low, row.estimates["top1"].high) == (interval.low, interval.high)
    assert row.estimates["nll"].low < value(row, "nll") < row.estimates["nll"].high
    assert row.estimates["ece"].low < row.estimates["ece"].high


def test_probabilities_are_taken_as_they_are(tmp_path: Path) -> None:
    said = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]
    three = toy(FLOAT, "abc", "probability")
    row = Bench(tmp_path).put(FLOAT, said, [0, 2], card=three).model()
    assert value(row, "nll") == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2, rel=1e-6)
    assert value(row, "ece") == pytest.approx((0.3 + 0.6) / 2, rel=1e-6)
    assert value(row, "top5") == 1


def test_flips_are_told_apart(tmp_path: Path) -> None:
    targets = [0, 1, 2, 3, 4, 5]
    # Right in both, negative, negative, positive, wrong in both alike, wrong in both differently.
    reference, candidate = [0, 1, 2, 0, 0, 0], [0, 6, 6, 3, 0, 6]
    pair = Bench(tmp_path).put(FLOAT, reference, targets).put(INT8, candidate, targets).pair()
    assert (pair.reference, pair.candidate, pair.images, pair.variant) == (FLOAT, INT8, 6, False)
    assert value(pair, "agreement") == 2 / 6
    assert value(pair, "negative_flips") == 2 / 6
    assert value(pair, "positive_flips") == 1 / 6
    assert value(pair, "top1_change") == pytest.approx(-1 / 6)
    assert pair.p == pytest.approx(binomtest(1, 3).pvalue)
    said = [(flip.sample, flip.target, flip.reference, flip.candidate) for flip in pair.flips]
    assert said[:2] == [("imagenet/1.png", 1, 1, 6), ("imagenet/2.png", 2, 2, 6)]
    assert sorted(said[2:]) == [("imagenet/3.png", 3, 0, 3), ("imagenet/5.png", 5, 0, 6)]


def test_the_other_way_round_flips_change_sign(tmp_path: Path) -> None:
    targets, one, other = [0, 1, 2], [0, 0, 0], [0, 1, 2]
    forward = Bench(tmp_path / "1").put(FLOAT, one, targets).put(INT8, other, targets).pair()
    back = Bench(tmp_path / "2").put(FLOAT, other, targets).put(INT8, one, targets).pair()
    assert value(forward, "positive_flips") == value(back, "negative_flips") == 2 / 3
    assert value(forward, "negative_flips") == value(back, "positive_flips") == 0
    assert value(forward, "top1_change") == -value(back, "top1_change") == pytest.approx(2 / 3)


def test_divergence_is_from_the_reference(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(5, 7)).astype(np.float32) for _ in range(2))
    pair = Bench(tmp_path).put(FLOAT, one.tolist(), [None] * 5).put(INT8, other.tolist(), [None] * 5).pair()
    expected = rel_entr(softmax(one.astype(float), axis=1), softmax(other.astype(float), axis=1)).sum(axis=1)
    assert value(pair, "kl") == pytest.approx(expected.mean())
    assert pair.estimates["kl"].low < expected.mean() < pair.estimates["kl"].high
    assert pair.largest == pytest.approx(np.abs(one - other).max())
    by_name = {flip.sample: flip.kl for flip in pair.flips}
    assert by_name
    for name, kl in by_name.items():
        assert kl == pytest.approx(expected[int(name[9:-4])])
    assert list(by_name.values()) == sorted(by_name.values(), reverse=True)


def test_divergence_finds_its_image_in_every_subset(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for subset, said in (("b", [0, 1, 2]), ("a", [3, 3]), ("c", [0])):
        bench.put(FLOAT, [0] * len(said), [0] * len(said), subset=subset)
        bench.put(INT8, said, [0] * len(said), subset=subset)
    pair = bench.pair()
    assert pair.images == 6
    assert value(pair, "agreement") == 2 / 6
    assert pair.largest == 5, "the largest of all subsets, not of the last"
    assert {flip.sample for flip in pair.flips} == {"a/0.png", "a/1.png", "b/1.png", "b/2.png"}
    assert all(flip.kl > 1 for flip in pair.flips)
    assert [row.images for row in bench.figures().models] == [6, 6]


def test_at_most_some_flips_are_kept(tmp_path: Path) -> None:
    many = MOST_FLIPS + 6
    targets = [2] * many + [0]
    pair = Bench(tmp_path).put(FLOAT, [0] * (many + 1), targets).put(INT8, [1] * (many + 1), targets).pair()
    assert len(pair.flips) == MOST_FLIPS
    assert pair.flips[0].sample == f"imagenet/{many}.png", "the only negative flip comes first"


@pytest.mark.parametrize(
    ("names", "reference", "pairs"),
    [
        ([FLOAT, INT8, VARIANT], "*.tv_float", [(FLOAT, INT8), (FLOAT, VARIANT)]),
        ([INT8, "net.int8@one", FLOAT], "*.tv_float", [(FLOAT, INT8), (INT8, "net.int8@one")]),
        ([FLOAT, "other.int8"], "*.tv_float", []),
        ([INT8, "net.int4"], "*.tv_float", []),
        ([VARIANT, INT8], "*.tv_float", []),
        ([FLOAT, INT8, "other.tv_float", "other.x"], "*.tv_float", [(FLOAT, INT8), ("other.tv_float", "other.x")]),
        ([FLOAT, INT8], "net.int8", [(INT8, FLOAT)]),
        ([FLOAT, INT8], "nothing", []),
        (["net.a.tv_float", "net.b"], "*.tv_float", [("net.a.tv_float", "net.b")]),
    ],
)
def test_pairs(names: list[str], reference: str, pairs: list[tuple[str, str]]) -> None:
    assert pairs_of(names, reference) == pairs


def test_a_variant_is_held_against_its_model(tmp_path: Path) -> None:
    pair = Bench(tmp_path).put(FLOAT, [0, 1], [0, 1]).put(VARIANT, [0, 2], [0, 1]).pair()
    assert pair.variant
    assert (pair.reference, value(pair, "agreement"), value(pair, "negative_flips")) == (FLOAT, 0.5, 0.5)


def test_a_model_alone_has_no_pair(tmp_path: Path) -> None:
    found = Bench(tmp_path).put(INT8, [0], [0]).figures()
    assert found.pairs == []
    assert value(found.models[0], "top1") == 1


def test_a_pair_has_the_same_classes(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put(FLOAT, [0], [0]).put(INT8, [0], [0], card=toy(INT8, "gfedcba"))
    with pytest.raises(CardError, match=r"net\.tv_float and net\.int8: expected the same classes"):
        bench.figures()


def test_models_that_are_no_pair_may_have_other_classes(tmp_path: Path) -> None:
    found = Bench(tmp_path).put(FLOAT, [6], [0]).put("other.x", [1], [0], card=toy("other.x", "abc")).figures()
    assert [value(row, "top1") for row in found.models] == [0, 0]


def test_a_detector_is_no_classifier(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("dif.a", [[0.5]], [0], card=Card(name="dif.a"))
    with pytest.raises(CardError, match=r"model dif\.a: expected a card with classes, got detection"):
        bench.figures()


def test_a_target_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put(FLOAT, [0, 1], [6, 7])
    with pytest.raises(DataError, match=r"targets of d: expected one of the 7 classes of net\.tv_float.* class 7"):
        bench.figures()


def test_images_without_target_count_for_agreement_alone(tmp_path: Path) -> None:
    targets = [0, None, None, 3]
    bench = Bench(tmp_path).put(FLOAT, [0, 1, 2, 3], targets).put(INT8, [1, 1, 0, 3], targets)
    found = bench.figures()
    (pair,) = found.pairs
    assert [row.images for row in found.models] == [2, 2]
    assert [value(row, "top1") for row in found.models] == [1, 0.5]
    assert pair.images == 4
    assert value(pair, "agreement") == 2 / 4
    assert (pair.estimates["agreement"].n, pair.estimates["negative_flips"].n) == (4, 2)
    assert value(pair, "negative_flips") == 1 / 2
    assert value(pair, "top1_change") == -1 / 2
    assert [(flip.sample, flip.target) for flip in pair.flips] == [("imagenet/0.png", 0), ("imagenet/2.png", -1)]


def test_no_target_at_all_leaves_accuracy_open(tmp_path: Path) -> None:
    found = Bench(tmp_path).put(FLOAT, [0, 1], [None, None]).put(INT8, [0, 2], [None, None]).figures()
    row, (pair,) = found.models[0], found.pairs
    assert row.images == 0
    assert all(math.isnan(value(row, name)) for name in ("top1", "top5", "nll", "ece"))
    assert value(pair, "agreement") == 0.5
    assert math.isnan(value(pair, "negative_flips"))
    assert math.isnan(value(pair, "top1_change"))
    assert pair.p == 1


def test_failures_are_counted_and_in_no_figure(tmp_path: Path) -> None:
    bench = (
        Bench(tmp_path).put(FLOAT, [0, None, 2, 0], [0, 1, 2, 3], missing=2).put(INT8, [0, 1, None, 0], [0, 1, 2, 3])
    )
    found = bench.figures()
    assert found.failures == {"image:empty": 2, "missing": 2}
    assert found.records == 10
    assert [(row.images, row.failed) for row in found.models] == [(3, 3), (3, 1)]
    assert [value(row, "top1") for row in found.models] == [2 / 3, 2 / 3]
    (pair,) = found.pairs
    assert pair.images == 2, "what one of the two did not answer is in no comparison"
    assert value(pair, "agreement") == 1
    assert value(pair, "kl") == 0
    assert pair.largest == 0


def test_a_model_that_never_answers_has_no_figure(tmp_path: Path) -> None:
    found = Bench(tmp_path).put(FLOAT, [0, 1], [0, 1]).put(INT8, [None, None], [0, 1]).figures()
    assert math.isnan(value(found.models[1], "top1"))
    assert found.pairs[0].images == 0
    assert math.isnan(value(found.pairs[0], "agreement"))
    assert [row.model for row in found.of("none")] == [FLOAT, INT8]


def test_a_cluster_is_drawn_whole(tmp_path: Path) -> None:
    said, targets = [0, 1] * 10, [0, 0] * 10
    apart = Bench(tmp_path / "1").put(FLOAT, said, targets)
    alike = ["one"] * 10 + ["two"] * 10
    together = Bench(tmp_path / "2").put(FLOAT, said, targets, sources=alike)
    wide, none = (bench.model().estimates["nll"] for bench in (apart, together))
    assert wide.low < wide.value < wide.high
    assert [none.low, none.high] == pytest.approx([none.value] * 2)
    for bench in (apart, together):
        sources = alike if bench is together else ()
        bench.put(INT8, [0] * 20, targets, sources=sources)
    for name in ("kl", "top1_change"):
        wide, none = (bench.pair().estimates[name] for bench in (apart, together))
        assert wide.low < wide.value < wide.high
        assert [none.low, none.high] == pytest.approx([none.value] * 2)


def test_p_values_hold_together(tmp_path: Path) -> None:
    targets = [0] * 12
    bench = Bench(tmp_path).put(FLOAT, [0] * 12, targets)
    worse = {"net.a": 6, "net.b": 8, "net.c": 1}
    for name, wrong in worse.items():
        bench.put(name, [1] * wrong + [0] * (12 - wrong), targets)
    raw = [binomtest(0, wrong).pvalue for wrong in worse.values()]
    found = [pair.p for pair in bench.figures().pairs]
    assert found == pytest.approx(holm(raw))
    assert found[0] > raw[0]


def test_p_values_hold_together_within_a_condition(tmp_path: Path) -> None:
    bench = Bench(tmp_path, degradations=["none", "jpeg quality=65"])
    second = bench.task.degradations[1]
    for condition in ("none", second):
        bench.put(FLOAT, [0] * 8, [0] * 8, condition).put(INT8, [1] * 8, [0] * 8, condition)
    assert [pair.p for pair in bench.figures().pairs] == pytest.approx([binomtest(0, 8).pvalue] * 2)


def test_variants_are_a_family_of_their_own(tmp_path: Path) -> None:
    targets = [0] * 12
    bench = Bench(tmp_path).put(FLOAT, [0] * 12, targets).put(INT8, [1] * 6 + [0] * 6, targets)
    bench.put(VARIANT, [1] * 7 + [0] * 5, targets).put(FLOAT + "@other", [0] * 12, targets)
    found = {pair.candidate: pair.p for pair in bench.figures().pairs}
    assert found[INT8] == pytest.approx(binomtest(0, 6).pvalue)
    assert found[VARIANT] == pytest.approx(2 * binomtest(0, 7).pvalue)


def test_conditions_stay_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, degradations=["none", "jpeg quality=65"])
    second = bench.task.degradations[1]
    bench.put(FLOAT, [0, 1], [0, 1]).put(FLOAT, [0, 0], [0, 1], second)
    bench.put(INT8, [0, 1], [0, 1]).put(INT8, [1, 1], [0, 1], second)
    found = bench.figures()
    assert list(found.conditions) == ["none", second]
    tops = {(row.model, row.condition): value(row, "top1") for row in found.models}
    assert tops == {(FLOAT, "none"): 1, (FLOAT, second): 0.5, (INT8, "none"): 1, (INT8, second): 0.5}
    assert [(pair.condition, value(pair, "agreement")) for pair in found.pairs] == [("none", 1), (second, 0)]


def test_the_best_stands_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put("b.x", [0, 0], [0, 1]).put("a.x", [0, 0], [0, 1]).put("c.x", [0, 1], [0, 1])
    assert [row.model for row in bench.figures().of("none")] == ["c.x", "a.x", "b.x"]


def test_the_same_records_give_the_same_figures(tmp_path: Path) -> None:
    bench = Bench(tmp_path).put(FLOAT, [0, 1, 2, 3], [0, 1, 1, 0]).put(INT8, [0, 0, 2, 2], [0, 1, 1, 0])
    assert bench.figures() == bench.figures()


def test_two_references_of_one_architecture_are_refused() -> None:
    with pytest.raises(SuiteError, match=r"one model an architecture, got a\.tv_float and a\.my_float"):
        pairs_of(["a.tv_float", "a.my_float", "a.int8"], "*float")


def test_models_that_cannot_be_told_apart_share_a_rank(tmp_path: Path) -> None:
    targets = [0] * 40
    bench = Bench(tmp_path).put("a.best", [0] * 40, targets).put("b.close", [0] * 38 + [1] * 2, targets)
    bench.put("c.bad", [1] * 35 + [0] * 5, targets).put("a.best@batch1", [0] * 40, targets)
    bench.put("d.blind", [0] * 40, [None] * 40)
    assert bench.figures().ranks == {"a.best": 1, "b.close": 1, "c.bad": 3}
