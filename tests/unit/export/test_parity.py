from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.fingerprints import DifBank
from export.onnx import write_onnx
from export.parity import PROBES, check_parity, probe_inputs
from harness.card import Card, Head
from harness.errors import ParityError
from harness.images.preprocess import Preprocess
from tests.unit.export.conftest import SIDE, Exported, make_bank, make_filter

TOLERANCE = 1e-5


def test_probes_are_the_same_each_time_and_all_different(exported: Exported) -> None:
    probes = probe_inputs(exported.card)
    assert probes.shape == (PROBES, SIDE, SIDE, 3)
    assert probes.dtype == np.uint8
    np.testing.assert_array_equal(probes, probe_inputs(exported.card))
    assert len({probe.tobytes() for probe in probes}) == PROBES
    deviations = probes.reshape(PROBES, -1).std(axis=1)
    assert deviations.min() == 0, "a constant image is among them"
    assert np.median(deviations) > 10, "and photographs"


def test_probes_follow_the_cards_preprocessing() -> None:
    spec = Preprocess(resize=40, crop=32, dtype="float32", layout="NCHW", range=(-1, 1))
    probes = probe_inputs(Card(name="a.b", preprocess=spec), 7)
    assert probes.shape == (7, 3, 32, 32)
    assert probes.dtype == np.float32
    assert -1 <= probes.min() < 0 < probes.max() <= 1


def test_an_honest_export_passes(exported: Exported) -> None:
    inputs = probe_inputs(exported.card)
    parity = check_parity(exported.module, exported.model, exported.card, inputs, tolerance=TOLERANCE)
    assert parity.passed
    assert parity.probes == PROBES
    assert parity.flips == 0
    assert parity.served_max_abs is None
    assert 0 <= parity.torch_max_abs < TOLERANCE


def test_a_served_answer_is_measured(exported: Exported) -> None:
    inputs = probe_inputs(exported.card)
    with torch.no_grad():
        source = exported.module(torch.from_numpy(inputs)).numpy()

    def served(asked: NDArray[Any]) -> NDArray[Any]:
        np.testing.assert_array_equal(asked, inputs)
        return source + np.float32(1e-6)

    parity = check_parity(exported.module, exported.model, exported.card, inputs, tolerance=TOLERANCE, served=served)
    assert parity.served_max_abs == pytest.approx(1e-6, abs=5e-7)


def test_other_weights_fail_with_the_figures(exported: Exported) -> None:
    other = DifBank(make_filter(seed=1).folded(), make_bank())
    with pytest.raises(ParityError, match=r"got torch 0\.\d+, batch \S+, not served, \d+ flipped, over 16 images"):
        check_parity(other, exported.model, exported.card, probe_inputs(exported.card), tolerance=TOLERANCE)


def _shifted(scores: NDArray[Any]) -> NDArray[Any]:
    return scores + 0.01


def _missing(scores: NDArray[Any]) -> NDArray[Any]:
    return scores[1:]


def _not_a_number(scores: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(len(scores))[:, None] == 3, np.nan, scores)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(_shifted, "served 0.01"), (_missing, r"served: expected .*, got \(15, 3\)"), (_not_a_number, "3 not finite")],
)
def test_a_server_that_answers_otherwise_fails(
    exported: Exported, damage: Callable[[NDArray[Any]], NDArray[Any]], said: str
) -> None:
    def served(inputs: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return damage(exported.module(torch.from_numpy(inputs)).numpy())

    inputs = probe_inputs(exported.card)
    with pytest.raises(ParityError, match=said):
        check_parity(exported.module, exported.model, exported.card, inputs, tolerance=1e-4, served=served)


class Mean(nn.Module):
    """Grey level of an image; minus its batch's where ``leaks``."""

    def __init__(self, leaks: bool = False) -> None:
        super().__init__()
        self.leaks = leaks

    def forward(self, image: Tensor) -> Tensor:
        grey = image.float().mean(dim=(1, 2, 3))[:, None]
        return grey - grey.mean() if self.leaks else grey


GREY = Card(
    name="grey.mean", preprocess=Preprocess(crop=8), score="statistic", heads=(Head(name="fake", threshold=100.0),)
)
PIXELS = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (50, 99, 101, 200)])


def test_a_graph_whose_answer_depends_on_the_batch_fails(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    card = GREY.model_copy(update={"heads": (Head(name="fake", threshold=50.0),)})
    write_onnx(Mean(leaks=True), torch.from_numpy(PIXELS), model, card)
    with pytest.raises(ParityError, match=r"torch 0, batch 88, not served, 1 flipped"):
        check_parity(Mean(leaks=True), model, card, PIXELS, tolerance=1e-3)


def test_differences_of_logits_are_in_units_of_the_images_largest(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    card = GREY.model_copy(update={"score": "logit"})
    write_onnx(Mean(), torch.from_numpy(PIXELS), model, card)

    def served(inputs: NDArray[Any]) -> NDArray[Any]:
        return np.array([[50.5], [99.0], [101.0], [201.0]], np.float32)

    parity = check_parity(Mean(), model, card, PIXELS, tolerance=0.02, served=served)
    assert parity.served_max_abs == pytest.approx(0.5 / 50)


@pytest.mark.parametrize(("fake", "threshold"), [("high", 100.0), ("low", -100.0)])
def test_a_flip_fails_within_the_tolerance_too(tmp_path: Path, fake: str, threshold: float) -> None:
    model = tmp_path / "model.onnx"
    card = GREY.model_copy(update={"fake": fake, "heads": (Head(name="fake", threshold=threshold),)})
    write_onnx(Mean(), torch.from_numpy(PIXELS), model, card)

    def served(inputs: NDArray[Any]) -> NDArray[Any]:
        return np.array([[50.0], [101.5], [101.5], [200.0]], np.float32)

    with pytest.raises(ParityError, match=r"served 2\.5, 1 flipped, over 4 images"):
        check_parity(Mean(), model, card, PIXELS, tolerance=5.0, served=served)
