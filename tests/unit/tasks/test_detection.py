import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, roc_auc_score

from harness.card import Card, Head
from harness.claims import check_claims
from harness.data.sample import SubsetInfo
from harness.plan import Cell
from harness.spec.report import ClaimSpec
from harness.spec.suite import SampleSpec
from harness.spec.tasks import DetectionTask
from harness.store.cells import CellStore
from harness.store.records import Record
from harness.tasks.detection import Detection, cross_generator, evaluate, in_domain
from harness.tasks.leaderboard import comparisons, standings

IMAGES = 60
SHIFT = {"a": 1.5, "b": 0.4}
CARD = Card(
    name="toy.two",
    score="statistic",
    heads=(Head(name="a", trained_on=("a",), threshold=0.5), Head(name="b", trained_on=("b",), threshold=0.5)),
    claims={"accuracy@a": 0.99},
)


def infos(splits: tuple[str, ...] = ("test", "val")) -> list[SubsetInfo]:
    labels = {"a": 1, "b": 1, "nature": 0}
    return [SubsetInfo(name, label, split, IMAGES) for name, label in labels.items() for split in splits]


def write(
    store: CellStore, task: DetectionTask, splits: tuple[str, ...] = ("test", "val"), fail: int = 0
) -> list[Cell]:
    """Scores of head `a` part the classes well, those of head `b` hardly."""
    cells = []
    for info in infos(splits):
        key = f"{info.subset}-{info.split}".ljust(64, "0")
        random = np.random.default_rng(abs(hash_of(key)))
        records = []
        for position in range(IMAGES):
            scores = tuple(float(random.normal(info.label * SHIFT[head])) for head in ("a", "b"))
            failed = position < fail
            records.append(
                Record(
                    position,
                    f"{info.split}/{info.subset}/{position}.png",
                    f"{info.split}-{position}",
                    info.label,
                    None if failed else scores,
                    "image:empty" if failed else None,
                )
            )
        store.append(key, records)
        sample = SampleSpec()
        cells.append(Cell(key, task.name, "m", "d", info.subset, info.label, info.split, "none", IMAGES, sample, 8))
    return cells


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:6], "little")


def evaluated(tmp_path: Path, fail: int = 0, card: Card = CARD, **options: object) -> Detection:
    task = DetectionTask.model_validate({"data": "d", **options})
    store = CellStore(tmp_path)
    cells = write(store, task, fail=fail)
    if "threshold" not in options or options["threshold"] in ("card", "oracle"):
        cells = [cell for cell in cells if cell.split == "test"]
    return evaluate(task, cells, {"m": card}, infos(), store, resamples=200, seed=0)


def arrays(tmp_path: Path, generator: str, head: int) -> tuple[np.ndarray, np.ndarray]:
    store = CellStore(tmp_path)
    scores, labels = [], []
    for subset in ("nature", generator):
        table = store.read(f"{subset}-test".ljust(64, "0"))
        scores += [row[head] for row in table["scores"].to_pylist() if row]
        labels += table["label"].to_pylist()[: len(scores) - len(labels)]
    return np.array(scores), np.array(labels)


def test_figures_are_scikit_learns(tmp_path: Path) -> None:
    detection = evaluated(tmp_path)
    for index, detector in enumerate(detection.detectors):
        for generator in ("a", "b"):
            scores, labels = arrays(tmp_path, generator, index)
            figures = detector.figures["none", generator]
            called = scores > 0.5
            expected = {
                "accuracy": accuracy_score(labels, called),
                "balanced_accuracy": balanced_accuracy_score(labels, called),
                "auroc": roc_auc_score(labels, scores),
                "average_precision": average_precision_score(labels, scores),
            }
            assert {name: figures.estimates[name].value for name in expected} == pytest.approx(expected)
            for name in ("balanced_accuracy", "auroc", "average_precision"):
                estimate = figures.estimates[name]
                assert estimate.low <= estimate.value <= estimate.high
                assert figures.draws[name].mean() == pytest.approx(estimate.value, abs=0.02)
            assert figures.in_domain == (detector.head.name == generator)


def test_diagonal_and_off_diagonal_stay_apart(tmp_path: Path) -> None:
    first = evaluated(tmp_path).detectors[0]
    inside, outside = first.mean("auroc", "none", in_domain), first.mean("auroc", "none", cross_generator)
    assert inside is not None
    assert outside is not None
    assert inside.value == first.figures["none", "a"].estimates["auroc"].value
    assert outside.value == first.figures["none", "b"].estimates["auroc"].value
    assert first.mean("auroc", "none", lambda _: False) is None


def test_failures_are_counted_and_in_no_figure(tmp_path: Path) -> None:
    detection = evaluated(tmp_path, fail=3)
    assert detection.failures == {"image:empty": 9}
    assert detection.detectors[0].figures["none", "a"].reals == IMAGES - 3


def test_a_position_without_record_is_a_failure(tmp_path: Path) -> None:
    task = DetectionTask(data="d")
    store = CellStore(tmp_path)
    cells = list(write(store, task, ("test",)))
    longer = [Cell(**{**{name: getattr(cell, name) for name in Cell.__slots__}, "images": 70}) for cell in cells]
    assert evaluate(task, longer, {"m": CARD}, infos(("test",)), store, 100, 0).failures == {"missing": 30}


def test_scores_whose_fakes_are_low_are_turned(tmp_path: Path) -> None:
    low = CARD.model_copy(update={"fake": "low"})
    plain, turned = evaluated(tmp_path / "x"), evaluated(tmp_path / "y", card=low)
    for one, other in zip(plain.detectors, turned.detectors, strict=True):
        value = one.figures["none", "a"].estimates["auroc"].value
        assert other.figures["none", "a"].estimates["auroc"].value == pytest.approx(1 - value)
        assert other.threshold == -one.threshold


def test_thresholds_follow_the_policy(tmp_path: Path) -> None:
    assert evaluated(tmp_path / "1", threshold={"fixed": 0.25}).detectors[0].threshold == 0.25
    at_fpr = evaluated(tmp_path / "2", threshold={"at_fpr": {"fpr": 0.1, "split": "val"}}).detectors[0].threshold
    table = CellStore(tmp_path / "2").read("nature-val".ljust(64, "0"))
    reals = np.array([row[0] for row in table["scores"].to_pylist()])
    assert (reals > at_fpr).mean() <= 0.1
    assert (reals >= at_fpr).mean() > 0.1
    calibrated = evaluated(tmp_path / "3", threshold="calibrated").detectors[0]
    oracle = evaluated(tmp_path / "4", threshold="oracle").detectors[0]
    assert calibrated.threshold != oracle.threshold
    assert 0 < calibrated.threshold < 1.5


def test_detectors_that_can_not_be_told_apart_share_a_rank(tmp_path: Path) -> None:
    task = DetectionTask(data="d")
    store = CellStore(tmp_path)
    cells = [cell for cell in write(store, task) if cell.split == "test"]
    twice = [*cells, *(Cell(**{**{n: getattr(c, n) for n in Cell.__slots__}, "model": "n"}) for c in cells)]
    detection = evaluate(task, twice, {"m": CARD, "n": CARD}, infos(), store, 400, 0)
    rows = standings(detection)
    ranks = {row.detector.name: row.rank for row in rows}
    assert ranks["m/a"] == ranks["n/a"]
    assert ranks["m/b"] == ranks["n/b"]
    held = {row.detector: row for row in comparisons(rows)}
    twin = next(name for name in held if name.endswith(rows[0].detector.head.name))
    assert held[twin].auroc.value == 0
    assert held[twin].accuracy_p == 1.0


def test_mistakes_are_the_farthest_first(tmp_path: Path) -> None:
    mistakes = evaluated(tmp_path).detectors[1].mistakes
    margins = [item.margin for item in mistakes]
    assert margins == sorted(margins, reverse=True)
    for item in mistakes:
        assert (item.score > item.threshold) != (item.label == 1)


def test_claims_of_the_card_and_the_suite(tmp_path: Path) -> None:
    detection = evaluated(tmp_path)
    spec = ClaimSpec(model="m/*", subset="b", metric="auroc", value=0.1)
    checked = check_claims(detection, {"m": CARD}, [spec])
    assert [(item.detector, item.claim.subset, item.claim.value) for item in checked] == [
        ("m/a", "a", 0.99),
        ("m/a", "b", 0.1),
        ("m/b", "b", 0.1),
    ]
    assert [item.holds for item in checked] == [False, True, True]


def test_one_class_alone_has_rates_and_no_auroc(tmp_path: Path) -> None:
    task = DetectionTask(data="d", subsets=("a",))
    store = CellStore(tmp_path)
    cells = [cell for cell in write(store, task, ("test",)) if cell.subset == "a"]
    figures = evaluate(task, cells, {"m": CARD}, [SubsetInfo("a", 1, "test", IMAGES)], store, 100, 0).detectors[0]
    only = figures.figures["none", "a"].estimates
    assert math.isnan(only["auroc"].value)
    assert 0 < only["fake_accuracy"].value < 1
    assert figures.mean("auroc", "none") is None
