"""What is concluded from answers, where the answers are written here."""

import numpy as np
import pytest

from harness.backends.base import ModelInfo
from harness.errors import CardError
from harness.probe.behaviour import batches, differ, not_a_number, repeats, sizes
from harness.probe.learned import tell_apart
from harness.probe.metadata import image_input, score_output
from harness.probe.preprocessing import VALUES, candidates, conclude_preprocessing, information
from harness.probe.scores import score_space

RNG = np.random.default_rng(0)


def onehot(decisions: list[list[int]], classes: int = 4) -> np.ndarray:
    """Scores (views, images, classes) that decide so."""
    return np.eye(classes)[np.array(decisions)] * 5


def said(dtype: str, shape: tuple[int, ...], name: str = "x") -> ModelInfo:
    return ModelInfo(card=None, inputs={name: (dtype, shape)}, outputs={"y": ("FP32", (-1, 1))})


def test_information_is_entropy_of_decisions_that_survive_small_changes() -> None:
    assert information(onehot([[0, 1, 2, 3]] * 4)) == pytest.approx(np.log(4))
    assert information(onehot([[2, 2, 2, 2]] * 4)) == 0
    assert information(onehot([[0, 0], [1, 1], [2, 2], [3, 3]])) == pytest.approx(0, abs=1e-12)
    assert information(onehot([[0, 1, 0, 1]] * 2 + [[0, 1, 1, 1]] * 2)) == pytest.approx(
        -(3 * np.log(3 / 8) + 5 * np.log(5 / 8)) / 8 - np.log(2) / 4
    )


def test_answers_of_another_scale_tell_nothing() -> None:
    decided = onehot([[0, 1, 2, 3]] * 4)
    assert information(decided * 1000) == 0
    assert information(np.where(decided > 0, np.nan, 0)) == 0


def test_one_score_decides_by_its_sign_or_around_a_half() -> None:
    logits = np.array([[[-2.0], [3.0]]] * 4)
    assert information(logits) == pytest.approx(np.log(2))
    assert information(1 / (1 + np.exp(-logits))) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("told", "value", "confidence"),
    [
        ({"a": 1.0}, "a", "high"),
        ({"a": 0.1, "b": 1.0, "c": 0.2}, "b", "high"),
        ({"a": 0.1, "b": 1.0, "c": 0.9}, "b", "low"),
        ({"a": 0.9, "b": 1.0, "c": 0.9}, "a", "unknown"),
        ({"a": 0.0, "b": 0.1}, "a", "unknown"),
    ],
)
def test_candidates_are_told_apart_only_where_they_differ(told: dict[str, float], value: str, confidence: str) -> None:
    found = tell_apart(told)
    assert (found.value, found.confidence) == (value, confidence)
    assert confidence != "low" or "c" in found.evidence


def test_layout_and_values_are_concluded_from_one_table() -> None:
    taken = image_input(said("FP32", (-1, -1, -1, -1)), "e")
    asked = candidates(taken, list(taken.sides), 32)
    assert len(asked) == 2 * len(VALUES)
    right = ("NHWC", "-1..1")
    answers = {key: onehot([[0, 1, 2, 3]] * 4 if key == right else [[1] * 4] * 4) for key in asked}
    chosen, layout, values = conclude_preprocessing(answers, asked)
    assert (layout.value, values.value) == right
    assert layout.confidence == values.confidence == "high"
    assert (chosen.layout, chosen.range, chosen.crop) == ("NHWC", (-1.0, 1.0), 32)


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((-1, 3, 224, 224), {"NCHW": 224}),
        ((-1, 128, 128, 3), {"NHWC": 128}),
        ((1, 3, -1, -1), {"NCHW": None}),
        ((-1, -1, -1, -1), {"NCHW": None, "NHWC": None}),
    ],
)
def test_shapes_are_read_as_images(shape: tuple[int, ...], sides: dict[str, int | None]) -> None:
    found = image_input(said("FP32", shape), "e")
    assert found.sides == sides
    assert found.batch == (1 if shape[0] == 1 else None)


@pytest.mark.parametrize(
    ("dtype", "shape", "says"),
    [
        ("INT64", (-1, 3, 8, 8), "UINT8 or FP32"),
        ("FP32", (-1, 1, 28, 28), "RGB"),
        ("FP32", (-1, 3, 8, 9), "square"),
        ("FP32", (3, 8, 8), "batch first"),
    ],
)
def test_what_takes_no_images_is_refused(dtype: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(CardError, match=says):
        image_input(said(dtype, shape), "e")


def test_metadata_without_tensors_say_what_to_do() -> None:
    with pytest.raises(CardError, match="model settings"):
        image_input(ModelInfo(card=None), "e")


def test_the_output_with_scores_is_the_flat_one() -> None:
    outputs = {"features": ("FP32", (-1, 8, 4, 4)), "scores": ("FP32", (-1, 10))}
    assert score_output(outputs, None, "e") == "scores"
    assert score_output(outputs, "features", "e") == "features"
    with pytest.raises(CardError, match="one of shape"):
        score_output({**outputs, "more": ("FP32", (-1, 3))}, None, "e")


LOGITS = RNG.normal(0, 4, (64, 5))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize(
    ("scores", "space", "confidence"),
    [
        (LOGITS, "logit", "high"),
        (np.log(SOFTMAX), "logit", "high"),
        (SOFTMAX, "probability", "high"),
        (SIGMOID, "probability", "low"),
        (SIGMOID[:, :1], "probability", "high"),
        (0.4 + SIGMOID[:, :1] / 10, "probability", "low"),
        (LOGITS[:, :1], "logit", "low"),
        (np.full((3, 2), np.nan), "logit", "unknown"),
    ],
    ids=["logits", "logs", "softmax", "several", "one", "narrow", "logit", "nan"],
)
def test_score_spaces(scores: np.ndarray, space: str, confidence: str) -> None:
    found = score_space(scores, scores[:0])
    assert (found.value, found.confidence) == (space, confidence)


def test_an_extreme_answer_unmasks_a_logit() -> None:
    assert score_space(np.full((4, 1), 0.3), np.array([[7.0]])).value == "logit"


def pixels(batch: np.ndarray) -> np.ndarray:
    return batch.reshape(len(batch), -1).mean(axis=1, keepdims=True)


def test_repeats_and_batches_are_held_against_each_other() -> None:
    images = RNG.normal(size=(4, 3, 2, 2)).astype(np.float32)
    assert repeats(pixels, images) == batches(pixels, images) == differ(pixels(images), pixels(images))
    turns = iter([0.0, 0.0, 2.0, 0.0, 0.0])
    assert repeats(lambda batch: pixels(batch) + next(turns), images).largest == pytest.approx(2)
    coupled = batches(lambda batch: pixels(batch) - batch.mean(), images)
    assert coupled.largest > 0
    assert coupled.flips == np.count_nonzero(pixels(images) - images.mean() > 0)


def test_not_a_number_is_told_in_words() -> None:
    images = np.ones((2, 3, 2, 2), np.float32)
    assert not_a_number(pixels, images) == "answered as NaN"
    assert not_a_number(lambda batch: np.nan_to_num(pixels(batch)), images) == "answered with numbers"
    assert "other images" in not_a_number(lambda batch: np.full((len(batch), 1), batch.mean()), images)


def test_batches_grow_up_to_the_first_that_is_refused() -> None:
    from harness.errors import EndpointRefused

    asked = []

    def ask(batch: np.ndarray) -> np.ndarray:
        asked.append(len(batch))
        if len(batch) > 12:
            raise EndpointRefused("too many")
        return pixels(batch)

    found = sizes(ask, np.zeros((1, 3, 2, 2), np.float32), 64, told=12)
    assert asked == [1, 2, 4, 8, 12, 13]
    assert (found.largest, found.refused, found.bytes) == (12, (13, "refused"), 12 * 48)
    assert sizes(pixels, np.zeros((1, 1), np.float32), 4, None).refused is None
