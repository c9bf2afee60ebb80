"""Which models meet in a disagreement task, by card alone."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image as PILImage

from harness.card import Card
from harness.data import open_dataset
from harness.errors import CardError, SuiteError
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.models import expand, open_models
from harness.pairs import Roles, check_detectors, search_roles
from harness.plan import make_plan
from harness.search.registry import parse_searcher
from harness.spec.suite import Suite
from harness.spec.tasks import DetectionTask, DisagreementTask

FLOAT, INT8, GRADIENT = "net.tv_float", "net.int8", "net.tv_float.gradient"
OTHER, OTHER_INT8, OTHER_GRADIENT = "other.tv_float", "other.int8", "other.tv_float.gradient"


def card(name: str, classes: Sequence[str] = "abc", **take: object) -> Card:
    kind = "gradient" if name.endswith(".gradient") else "classification"
    spec = Preprocess.model_validate({"resize": 40, "crop": 32, **take})
    return Card(name=name.partition("@")[0], task=kind, classes=tuple(classes), preprocess=spec, heads=())


ALL = {name: card(name) for name in (FLOAT, INT8, GRADIENT, OTHER, OTHER_INT8, OTHER_GRADIENT)}


def roles(
    *pairs: dict[str, str], cards: dict[str, Card] = ALL, searchers: Sequence[str] = ("boundary", "dflare")
) -> list[Roles]:
    said = {"kind": "disagreement", "name": "t", "data": "d", "pairs": pairs, "searchers": searchers}
    task = DisagreementTask.model_validate(said)
    return search_roles(task, [parse_searcher(item) for item in task.searchers], cards)


def test_wildcards_meet_by_architecture() -> None:
    assert roles({"white": "*.tv_float", "black": "*.int8"}) == [
        Roles(FLOAT, INT8, GRADIENT),
        Roles(OTHER, OTHER_INT8, OTHER_GRADIENT),
    ]


def test_a_model_does_not_meet_itself_nor_a_gradient_entry() -> None:
    found = roles({"white": "net.*", "black": "net.*"}, searchers=["dflare"])
    assert [item.name for item in found] == [f"{FLOAT} -> {INT8}", f"{INT8} -> {FLOAT}"]


def test_named_models_meet_whatever_their_architecture() -> None:
    assert roles({"white": FLOAT, "black": OTHER}) == [Roles(FLOAT, OTHER, GRADIENT)]
    found = roles({"white": FLOAT, "black": "*.int8"})
    assert [item.black for item in found] == [INT8, OTHER_INT8]


def test_variants_meet_where_they_are_named() -> None:
    cards = {**ALL, f"{INT8}@served": card(INT8)}
    assert [item.black for item in roles({"white": FLOAT, "black": "net.int*"}, cards=cards)] == [INT8]
    assert [item.black for item in roles({"white": FLOAT, "black": "net.int8@*"}, cards=cards)] == [f"{INT8}@served"]


@pytest.mark.parametrize(
    ("said", "found"),
    [(GRADIENT, [GRADIENT]), (OTHER_GRADIENT, [OTHER_GRADIENT]), ("net.*", [GRADIENT])],
    ids=["of its sibling", "of another", "the only match"],
)
def test_a_white_model_without_gradients_takes_the_one_it_is_given(said: str, found: list[str]) -> None:
    assert [item.gradient for item in roles({"white": INT8, "black": FLOAT, "gradient": said})] == found


def test_a_wildcard_of_gradients_is_resolved_by_architecture() -> None:
    found = roles({"white": "*.int8", "black": "*.tv_float", "gradient": "*.gradient"})
    assert [(item.white, item.gradient) for item in found] == [(INT8, GRADIENT), (OTHER_INT8, OTHER_GRADIENT)]


@pytest.mark.parametrize("pair", [{}, {"gradient": "*.missing"}], ids=["usual", "named"])
def test_a_gradient_that_is_not_there_says_what_to_do(pair: dict[str, str]) -> None:
    do = "Export the float model with --with-gradient, name that entry among the models, or set the pair's gradient"
    with pytest.raises(SuiteError, match=rf"task t: gradient of net\.int8: expected one entry .*\. {do}"):
        roles({"white": INT8, "black": FLOAT, **pair})


def test_two_gradients_of_one_architecture_have_to_be_told_apart() -> None:
    cards = {**ALL, "net.b.gradient": card("net.b.gradient")}
    with pytest.raises(SuiteError, match=r"expected one entry net\.\*, got net\.tv_float\.gradient, net\.b\.gradient"):
        roles({"white": INT8, "black": FLOAT, "gradient": "net.*"}, cards=cards)


def test_a_classifier_is_no_gradient() -> None:
    with pytest.raises(SuiteError, match=r"gradient of net\.int8: expected one entry net\.tv_float,"):
        roles({"white": INT8, "black": FLOAT, "gradient": FLOAT})


def test_no_gradient_is_looked_for_where_no_searcher_needs_the_pairs() -> None:
    cards = {name: ALL[name] for name in (FLOAT, INT8, OTHER_GRADIENT)}
    for searchers in (["dflare"], [f"boundary gradient={OTHER_GRADIENT}", "diffchaser"]):
        (found,) = roles({"white": FLOAT, "black": INT8}, cards=cards, searchers=searchers)
        assert found.gradient is None


def test_the_same_pair_twice_is_refused() -> None:
    with pytest.raises(SuiteError, match=rf"pair {FLOAT} -> {INT8}: expected it once, got it twice\. Remove one\."):
        roles({"white": "*.tv_float", "black": "*.int8"}, {"white": FLOAT, "black": INT8})


def test_both_directions_are_two_pairs() -> None:
    found = roles({"white": FLOAT, "black": INT8}, {"white": INT8, "black": FLOAT, "gradient": GRADIENT})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("classes", "got"), [("abcd", "3 and 4"), ("abd", "others"), ("acb", "others")], ids=["more", "another", "order"]
)
@pytest.mark.parametrize("name", [INT8, GRADIENT])
def test_models_of_other_classes_are_refused(name: str, classes: str, got: str) -> None:
    words = rf"models {FLOAT} and {name}: expected the same classes, got {got}"
    with pytest.raises(CardError, match=words):
        roles({"white": FLOAT, "black": INT8}, cards={**ALL, name: card(name, classes)})


def test_one_score_decides_nothing() -> None:
    cards = {name: card(name, "a") for name in ALL}
    with pytest.raises(CardError, match="expected the same classes"):
        roles({"white": FLOAT, "black": INT8}, cards=cards)


@pytest.mark.parametrize(
    ("take", "got"), [({"resize": 36}, "40/32 and 36/32"), ({"crop": 28}, "40/32 and 40/28")], ids=["resize", "crop"]
)
@pytest.mark.parametrize("name", [INT8, GRADIENT])
def test_models_that_see_other_pixels_are_refused(name: str, take: dict[str, int], got: str) -> None:
    with pytest.raises(CardError, match=rf"models {FLOAT} and {name}: expected the same resize/crop, got {got}"):
        roles({"white": FLOAT, "black": INT8}, cards={**ALL, name: card(name, **take)})


def test_models_may_lay_the_same_pixels_out_in_their_own_ways() -> None:
    cards = {**ALL, INT8: card(INT8, dtype="float32", layout="NCHW", mean=(0.5, 0.5, 0.5))}
    assert roles({"white": FLOAT, "black": INT8}, cards=cards) == [Roles(FLOAT, INT8, GRADIENT)]


def test_a_gradient_to_transfer_from_has_to_be_there() -> None:
    with pytest.raises(
        SuiteError, match=r"floa\.gradient: expected an entry .* Did you mean 'other\.tv_float\.gradient'"
    ):
        roles({"white": FLOAT, "black": INT8}, searchers=["boundary gradient=other.tv_floa.gradient"])


def test_a_gradient_to_transfer_from_has_to_be_one() -> None:
    with pytest.raises(CardError, match=rf"gradient {OTHER}: expected a gradient entry, got a classification model"):
        roles({"white": FLOAT, "black": INT8}, searchers=[f"boundary gradient={OTHER}"])


@pytest.mark.parametrize("pair", [{"white": "net.floa", "black": INT8}, {"white": FLOAT, "black": "net.int"}])
def test_a_model_that_is_not_there_names_the_nearest(pair: dict[str, str]) -> None:
    with pytest.raises(
        SuiteError, match=r"task t: (white|black): expected a model of the suite, got 'net.*Did you mean"
    ):
        roles(pair)


def test_wildcards_that_never_meet_are_refused() -> None:
    cards = {name: ALL[name] for name in (FLOAT, OTHER_INT8, GRADIENT)}
    with pytest.raises(SuiteError, match=r"pair \*\.tv_float -> \*\.int8: expected two models of one architecture"):
        roles({"white": "*.tv_float", "black": "*.int8"}, cards=cards)


def test_a_searcher_is_lent_the_gradient_that_it_asks_for() -> None:
    pair = Roles(FLOAT, INT8, GRADIENT)
    assert pair.lent(parse_searcher("boundary")) == pair
    assert pair.lent(parse_searcher("dflare")) == Roles(FLOAT, INT8)
    assert pair.lent(parse_searcher(f"boundary gradient={OTHER_GRADIENT}")) == Roles(FLOAT, INT8, OTHER_GRADIENT)
    assert pair.name == pair.lent(parse_searcher("dflare")).name == "net.tv_float -> net.int8"


def test_classifiers_are_no_detectors() -> None:
    task = DetectionTask(name="t", data="d")
    check_detectors(task, {"dif.one": Card(name="dif.one")})
    with pytest.raises(CardError, match=rf"task t: model {INT8}: expected a detector, got a classifier"):
        check_detectors(task, {"dif.one": Card(name="dif.one"), INT8: ALL[INT8]})


def planned(tmp_path: Path, task: dict[str, object], classes: Sequence[str]) -> set[str]:
    """Names of the models that a plan asks, where one is a gradient entry."""
    cards = [{"name": name, "classes": classes} for name in (FLOAT, INT8)]
    cards.append({"name": GRADIENT, "classes": classes, "task": "gradient"})
    models = [{"name": said["name"], "endpoint": f"scripted:{json.dumps({'card': said})}"} for said in cards]
    PILImage.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "m.csv").write_text("path,label,subset\n0.png,1,x\n")
    data = {"d": {"layout": "manifest", "root": "m.csv"}}
    asked = Suite.model_validate({"name": "s", "data": data, "models": models, "tasks": [{"data": "d", **task}]})
    opened = open_dataset("d", asked.data["d"], tmp_path, tmp_path / "cache", Silent())
    with open_models(expand(asked.models, Path())) as found:
        return {cell.model for cell in make_plan(asked, found, {"d": opened}).cells}


@pytest.mark.parametrize(("kind", "classes"), [("classification", "abc"), ("detection", "")])
@pytest.mark.parametrize("pattern", ["*", "net.tv_float*"])
def test_a_gradient_entry_is_never_asked_by_a_wildcard(tmp_path: Path, kind: str, classes: str, pattern: str) -> None:
    asked = planned(tmp_path, {"kind": kind, "models": [pattern]}, list(classes))
    assert asked == ({FLOAT, INT8} if pattern == "*" else {FLOAT})


def test_a_gradient_entry_answers_no_other_task(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"'net\.tv_float\.gradient', which matches none"):
        planned(tmp_path, {"kind": "classification", "models": [GRADIENT]}, list("abc"))
