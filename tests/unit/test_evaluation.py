"""An endpoint beside its reference: the three verdicts, and a whole evaluation of real graphs in process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.backends import EndpointOptions
from harness.comparison.change import Change, Place
from harness.data.miniature.photographs import PHOTOGRAPHS, crops
from harness.errors import EndpointUnavailable, SuiteError
from harness.evaluation import Evaluation, Limits, evaluate, judge_decisions, judge_quality, judge_speed
from harness.events import Silent
from harness.stats import Estimate

SUITE = """\
name: beside
repository: {repository}
data: {{d: {{layout: real_fake, root: images}}}}
models: [cnnspot.mini_gan, cnnspot.mini_vq]
resamples: 200
tasks: [{{kind: detection, data: d, trained_on: gan, audit: false}}]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A crop of each of twelve photographs as they are, and mirrored ones that stand for fakes."""
    folder = tmp_path_factory.mktemp("beside")
    for index, crop in enumerate(next(crops(item)) for item in PHOTOGRAPHS[:12]):
        for kind, pixels in (("real", crop.pixels), ("fake", crop.pixels[:, ::-1])):
            (folder / "images" / "set" / kind).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(folder / "images" / "set" / kind / f"{index}.png")
    (folder / "suite.yaml").write_text(SUITE.format(repository=repository))
    return folder / "suite.yaml"


def ask(suite: Path, model: Path, **changes: object) -> Evaluation:
    options = EndpointOptions(threads=1)
    return Evaluation(f"onnx:{model}", options, suite, out=suite.parent / "reports", **changes)  # type: ignore[arg-type]


def test_a_copy_of_the_reference_is_found_by_its_card_and_holds(suite: Path, repository: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(repository / "cnnspot.mini_gan" / "1" / "model.onnx", tmp_path))
    found = evaluate(ask(suite, model), Silent())
    assert (found.reference, found.endpoint) == ("cnnspot.mini_gan", "cnnspot.mini_gan.endpoint")
    decisions, quality, speed = found.verdicts
    assert decisions.holds
    assert decisions.evidence.startswith("0 of 24")
    assert quality.holds
    assert "AUROC +0.00 [+0.00, +0.00]" in quality.evidence
    assert speed.holds is None
    assert [len(digest) for digest in found.finished.info.data.values()] == [64]


def test_another_model_does_not_hold(suite: Path, repository: Path) -> None:
    model = repository / "cnnspot.mini_vq" / "1" / "model.onnx"
    found = evaluate(ask(suite, model, reference="cnnspot.mini_gan", limits=Limits(slower=1e-6)), Silent())
    assert [verdict.holds for verdict in found.verdicts] == [False, False, False]


def test_an_endpoint_that_answers_nothing_is_told_of(suite: Path, tmp_path: Path) -> None:
    card = {"name": "toy.x", "task": "classification", "classes": ["a", "b"], "heads": [], "preprocess": {"crop": 32}}
    mute = json.dumps({"card": card, "faults": [{"kind": "refused"}]})
    said = {
        "name": "mute",
        "data": {"d": {"layout": "real_fake", "root": str(suite.parent / "images")}},
        "models": [{"name": "toy.x", "endpoint": f"scripted:{json.dumps({'card': card})}"}],
        "resamples": 100,
        "tasks": [{"kind": "classification", "data": "d"}],
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(said))
    found = evaluate(Evaluation(f"scripted:{mute}", EndpointOptions(), tmp_path / "suite.yaml", out=tmp_path), Silent())
    assert found.reasons
    assert [verdict.holds for verdict in found.verdicts] == [None, None, None]
    assert found.verdicts[0].evidence == "none was answered by both"


def test_an_endpoint_that_stops_answering_leaves_speed_unknown(
    suite: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise EndpointUnavailable("it: expected an answer, got none. Start it")

    monkeypatch.setattr("harness.evaluation.take_turns", stopped)
    found = evaluate(ask(suite, repository / "cnnspot.mini_gan" / "1" / "model.onnx"), Silent())
    assert found.verdicts[0].holds
    assert (found.verdicts[2].holds, found.reasons) == (None, ("it stopped answering: unavailable",))


def test_what_no_reference_is_known_for_names_the_option(suite: Path, repository: Path) -> None:
    with pytest.raises(SuiteError, match="--reference"):
        evaluate(ask(suite, repository / "cnnspot.mini_gan" / "1" / "model.onnx", reference="cnnspot.zork"), Silent())


def flipped(task: str, flips: int, images: int, subset: str = "") -> Change:
    share = Estimate.of_rate(flips, images)
    return Change(Place(task, "m.x", "none", subset), "flips", float("nan"), flips, share)


@pytest.mark.parametrize(("flips", "most", "holds"), [(0, 0, True), (1, 0, False), (1, 0.01, True), (2, 0.01, False)])
def test_decisions_hold_while_few_flip(flips: int, most: float, holds: bool) -> None:
    tasks = [flipped("a", flips, 60), flipped("b", 0, 40)]
    assert judge_decisions(tasks, most).holds is holds


def test_decisions_name_where_most_of_them_differ() -> None:
    changes = [flipped("t", 9, 90)] + [flipped("t", *pair) for pair in ((0, 20, "a"), (4, 40, "b"), (5, 30, "c"))]
    assert judge_decisions(changes, 0).evidence.endswith("most of c 5 of 30, b 4 of 40")


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(-0.001, 0.002, "yes"), (-0.02, 0.01, "not shown"), (-0.03, -0.01, "no")]
)
def test_quality_holds_where_a_loss_is_ruled_out(low: float, high: float, answer: str) -> None:
    found = judge_quality({"AUROC": Estimate((low + high) / 2, low, high, 100)}, 0.005)
    assert (found.answer, found.holds) == (answer, answer == "yes")


def test_quality_without_labels_is_unknown() -> None:
    assert judge_quality({"top-1": Estimate.bare(float("nan"), 0)}, 0.005).holds is None


def test_speed_is_a_ratio_of_medians_with_its_interval() -> None:
    times = np.random.default_rng(0).normal(1.0, 0.05, (2, 40))
    found = judge_speed(times[0], 1.5 * times[1], 2.0, 500, 0)
    assert (found.answer, found.holds) == ("yes", True)
    assert judge_speed(times[0], 3 * times[1], 2.0, 500, 0).holds is False
    assert judge_speed(times[0], 1.5 * times[1], None, 500, 0).answer == "slower"
    assert judge_speed(times[0], times[0], None, 500, 0).answer == "yes"
