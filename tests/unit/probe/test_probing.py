"""Real graphs in process, learned from outside, and the suites written for them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.backends import EndpointOptions, open_backend
from harness.backends.base import Auth, Tls
from harness.errors import CardError, EndpointUnavailable
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.models import expand, open_models
from harness.probe import Asked, Probed, probe
from harness.probe.suite import suite_text
from harness.report.document import document
from harness.report.probe import probe_report
from harness.spec.load import load_suite
from tests.unit.probe.graphs import CONVENTIONS, hues, mean


def learn(path: Path, most: int = 4) -> Probed:
    return probe(Asked(f"onnx:{path}", EndpointOptions(threads=1), most, requests=3), Silent())


@pytest.mark.parametrize(("values", "layout"), [*zip(CONVENTIONS, ["NCHW", "NHWC"] * 2, strict=True)])
def test_the_convention_is_named_or_among_those_that_may_be(values: str, layout: str, tmp_path: Path) -> None:
    found = learn(hues(tmp_path / "m.onnx", values=values, layout=layout))
    assert found.preprocess.layout == layout
    assert found.findings["layout"].confidence == "certain"
    learned = found.findings["values"]
    assert learned.value == values if learned.confidence == "high" else values in learned.evidence.partition(";")[0]
    assert learned.confidence == ("high" if values in ("0..255", "ImageNet mean and std") else "low")


def test_what_can_not_be_told_apart_is_unknown(tmp_path: Path) -> None:
    found = learn(mean(tmp_path / "m.onnx", "FLOAT", ("batch", 3, 32, 32)))
    assert found.findings["values"].confidence == "unknown"
    assert found.preprocess.range == (0.0, 1.0)
    assert any("not known for sure" in note for note in probe_report(found).notes)


def test_pixels_are_certain_and_one_score_is_a_detector(tmp_path: Path) -> None:
    found = learn(mean(tmp_path / "m.onnx"))
    assert found.preprocess == Preprocess(resize=32, crop=32)
    assert (found.space, found.scores, found.not_a_number) == ("logit", 1, None)
    assert {found.findings[key].confidence for key in ("layout", "size", "values")} == {"certain"}
    assert found.repeats.largest == 0
    assert {item.asked: item.reason for item in found.reactions}["another type (int64)"] == "refused"
    assert found.alive
    assert len(found.seconds) == 3


@pytest.mark.parametrize(("softmax", "space"), [(False, "logit"), (True, "probability")])
def test_softmax_is_told_from_logits(softmax: bool, space: str, tmp_path: Path) -> None:
    found = learn(hues(tmp_path / "m.onnx", softmax=softmax)).findings["scores"]
    assert (found.value, found.confidence) == (space, "high")
    assert ("softmax over 5 classes" in found.evidence) == softmax


def test_a_free_size_and_layout_are_tried(tmp_path: Path) -> None:
    found = learn(mean(tmp_path / "m.onnx", "UINT8", ("batch", "a", "b", "c")))
    assert found.findings["layout"].confidence == "unknown"
    assert found.findings["size"].confidence == "unknown"
    assert found.findings["size"].value == "224"


def test_a_fixed_batch_is_kept_to(tmp_path: Path) -> None:
    found = learn(hues(tmp_path / "m.onnx", batch=1))
    assert found.batches is None
    assert (found.sizes.largest, found.sizes.refused) == (1, None)


def test_a_shipped_entry_is_taken_at_its_word_and_checked(repository: Path, tmp_path: Path) -> None:
    found = learn(repository / "cnnspot.mini_gan" / "1" / "model.onnx")
    assert found.contradictions == ()
    assert {item.confidence for item in found.findings.values()} == {"certain"}
    written = load(found, tmp_path)
    assert written.models[0].card is None
    assert written.models[0].name == "cnnspot.mini_gan"


def test_a_card_that_lies_is_contradicted(tmp_path: Path, repository: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    model = onnx.load(repository / "cnnspot.mini_gan" / "1" / "model.onnx")
    for item in model.metadata_props:
        item.value = item.value.replace('"heads":[{', '"heads":[{"name":"other"},{').replace(
            '"score":"logit"', '"score":"probability"'
        )
    onnx.save(model, tmp_path / "m.onnx")
    found = learn(tmp_path / "m.onnx")
    assert found.contradictions == ("card: 2 scores, answers: 1",)
    report = probe_report(found)
    assert report.verdict.startswith("INVALID")


@pytest.mark.parametrize(
    ("entry", "says"), [("cnnspot.mini_gan.gradcam", "one tensor"), ("mccloskey18.mini_s0", "a model of images")]
)
def test_an_entry_that_takes_other_than_images_is_refused(entry: str, says: str, repository: Path) -> None:
    with pytest.raises(CardError, match=says):
        learn(repository / entry / "1" / "model.onnx")


def load(found: Probed, folder: Path):  # type: ignore[no-untyped-def]
    path = folder / "suite.yaml"
    path.write_text(suite_text(found))
    return load_suite(path)


def test_a_written_suite_describes_what_was_learned(tmp_path: Path) -> None:
    found = learn(hues(tmp_path / "Acme-Hues_v2.onnx", values="0..255", softmax=True))
    suite = load(found, tmp_path)
    (model,), (task,) = suite.models, suite.tasks
    assert model.name == "probed.acme_hues_v2"
    assert model.card is not None
    assert model.card.preprocess == found.preprocess
    assert (model.card.score, model.card.classes, task.kind) == ("probability", 5, "classification")
    with open_models(expand(suite.models, tmp_path)) as opened:
        cards = {name: (item.card.name, item.card.task, item.card.outputs) for name, item in opened.items()}
    assert set(cards) == {model.name, f"{model.name}@single"}
    assert set(cards.values()) == {(model.name, "classification", 5)}


def test_secrets_are_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", "s3cret")
    options = EndpointOptions(threads=1, auth=Auth(bearer_env="ACME_TOKEN"), tls=Tls(ca="ca.pem"))
    found = probe(Asked(f"onnx:{mean(tmp_path / 'm.onnx')}", options, 2, 2), Silent())
    text = suite_text(found) + document(probe_report(found))
    assert "s3cret" not in text
    written = yaml.safe_load(suite_text(found))["models"][0]["options"]
    assert (written["auth"], written["tls"]["ca"]) == ({"bearer_env": "ACME_TOKEN"}, "ca.pem")


def test_latency_is_what_the_clock_says(tmp_path: Path) -> None:
    ticks = iter(np.arange(100) * 0.5)
    asked = Asked(f"onnx:{mean(tmp_path / 'm.onnx')}", EndpointOptions(threads=1), 2, 4)
    assert probe(asked, Silent(), clock=lambda: float(next(ticks))).seconds.tolist() == [0.5] * 4


class Fragile:
    """A real graph that is gone once it was asked about more than four images, and drops one single request."""

    def __init__(self, endpoint: str, options: EndpointOptions) -> None:
        self.inner, self.options = open_backend(endpoint, options), options
        self.gone, self.singles = False, 0

    def info(self):  # type: ignore[no-untyped-def]
        return self.inner.info()

    def infer(self, inputs):  # type: ignore[no-untyped-def]
        (batch,) = inputs.values()
        self.singles += batch.shape == (1, 32, 32, 3)
        self.gone |= batch.shape[1:] == (32, 32, 3) and len(batch) > 4
        if self.gone or self.singles == 10:
            self.singles += 1
            raise EndpointUnavailable("gone: expected an answer, got none. Start it")
        return self.inner.infer(inputs)

    def close(self) -> None:
        self.inner.close()


def test_a_server_that_dies_of_a_large_batch_leaves_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.probe.probing.open_backend", Fragile)
    monkeypatch.setattr("harness.probe.probing.TOGETHER", 2)
    path = mean(tmp_path / "m.onnx")
    found = probe(Asked(f"onnx:{path}", EndpointOptions(threads=1), 16, requests=12), Silent())
    assert (found.sizes.largest, found.sizes.refused, found.alive) == (4, (8, "unavailable"), False)
    assert len(found.seconds) == 11
    report = probe_report(found)
    assert report.verdict.startswith("INVALID: it does not survive")
    assert "over 11 of 12 requests" in document(report)
