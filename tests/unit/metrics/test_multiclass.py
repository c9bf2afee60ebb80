import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy
from sklearn.metrics import log_loss, top_k_accuracy_score

from harness.metrics.multiclass import FLOOR, calibration_error, divergence, log_probabilities, within_top

LEVELS = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0])
"""Few levels, so that scores tie."""


@st.composite
def scored(draw, values=LEVELS, classes=st.integers(3, 7)):
    """Scores (n, classes) with a target for each image."""
    shape = draw(st.integers(1, 12)), draw(classes)
    targets = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    return draw(arrays(np.float64, shape, elements=values)), targets


@st.composite
def distributions(draw, logits=st.floats(-30, 30)):
    """Log probabilities of the same images, twice."""
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    return tuple(log_probabilities(draw(arrays(np.float64, shape, elements=logits)), "logit") for _ in range(2))


@given(scored(classes=st.integers(4, 7)), st.integers(1, 3))
def test_within_top_is_scikit_learns_accuracy_ties_included(case, k):
    scores, targets = case
    classes = scores.shape[1]
    # Of equal scores scikit-learn takes the last class; mirrored classes make that the first.
    expected = top_k_accuracy_score(classes - 1 - targets, scores[:, ::-1], k=k, labels=range(classes), normalize=False)
    assert within_top(scores, targets, k).sum() == expected


@given(scored())
def test_the_first_is_the_decision(case):
    scores, targets = case
    np.testing.assert_array_equal(within_top(scores, targets, 1), scores.argmax(axis=1) == targets)


@given(scored())
def test_a_larger_k_never_loses_an_image(case):
    scores, targets = case
    classes = scores.shape[1]
    found = np.array([within_top(scores, targets, k) for k in range(classes + 2)])
    assert (found[1:] >= found[:-1]).all()
    assert not found[0].any()
    assert found[classes:].all()
    assert not found[:-2].all()


@pytest.mark.parametrize(
    ("target", "within"), [(1, [True, True, True]), (2, [False, True, True]), (0, [False, False, True])]
)
def test_the_first_of_equals_goes_before_the_others(target, within):
    assert [bool(within_top([[0.0, 1.0, 1.0]], [target], k)[0]) for k in (1, 2, 3)] == within


def test_no_target_is_within_no_top():
    np.testing.assert_array_equal(within_top([[3.0, 2.0, 1.0]] * 3, [-1, -7, 0], 3), [False, False, True])


def test_no_images_give_no_figures():
    none = np.zeros((0, 4))
    assert within_top(none, np.zeros(0, np.int64), 5).shape == (0,)
    assert log_probabilities(none, "logit").shape == (0, 4)
    assert divergence(none, none).shape == (0,)
    assert math.isnan(calibration_error([], []))


@given(scored(st.floats(-500, 500)))
def test_logits_become_scipys_log_softmax(case):
    np.testing.assert_allclose(log_probabilities(case[0], "logit"), log_softmax(case[0], axis=1), atol=1e-12)


@given(scored(st.floats(-12, 12)))
def test_negative_log_probability_is_scikit_learns_loss(case):
    scores, targets = case
    shares = softmax(scores, axis=1)
    loss = log_loss(targets, shares, labels=range(scores.shape[1]))
    for given_scores, space in ((scores, "logit"), (shares, "probability")):
        logs = log_probabilities(given_scores, space)
        assert -logs[np.arange(len(targets)), targets].mean() == pytest.approx(loss, rel=1e-6, abs=1e-9)


@given(scored(st.floats(-100, 100)), st.floats(-1e4, 1e4))
def test_logits_may_be_shifted(case, by):
    np.testing.assert_allclose(
        log_probabilities(case[0] + by, "logit"), log_probabilities(case[0], "logit"), atol=1e-10
    )


@given(scored(st.floats(-1e4, 1e4, width=32)))
def test_probabilities_add_up(case):
    np.testing.assert_allclose(np.exp(log_probabilities(case[0].astype(np.float32), "logit")).sum(axis=1), 1)


def test_a_class_that_is_ruled_out_costs_a_finite_number_of_nats():
    logs = log_probabilities([[1.0, 0.0, FLOOR / 10]], "probability")
    np.testing.assert_array_equal(logs, [[0.0, math.log(FLOOR), math.log(FLOOR)]])
    assert np.isfinite(log_probabilities([[1e30, -1e30]], "logit")).all()


def test_a_statistic_is_neither_logit_nor_probability():
    with pytest.raises(ValueError, match="expected logits or probabilities, got statistic"):
        log_probabilities([[1.0, 2.0]], "statistic")


@given(distributions())
def test_divergence_is_scipys(case):
    reference, candidate = case
    p, q = np.exp(reference), np.exp(candidate)
    found = divergence(reference, candidate)
    np.testing.assert_allclose(found, rel_entr(p, q).sum(axis=1), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found, entropy(p, q, axis=1), rtol=1e-7, atol=1e-9)


@given(distributions())
def test_divergence_is_zero_between_equals_alone(case):
    reference, candidate = case
    assert (divergence(reference, candidate) >= 0).all()
    assert (divergence(reference, reference) == 0).all()
    distance = np.abs(np.exp(reference) - np.exp(candidate)).sum(axis=1)
    # Pinsker: never below half the squared distance of the distributions.
    assert (divergence(reference, candidate) >= distance**2 / 2 - 1e-12).all()


def test_divergence_is_from_the_first():
    sure, unsure = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    assert divergence(sure, unsure)[0] == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert divergence(unsure, sure)[0] == pytest.approx(0.5 * math.log(5 / 9) + 0.5 * math.log(5))


def guo(confidence, right, bins):
    """Eq. 3 of Guo et al., word by word: bin m holds confidences in ((m - 1) / M, m / M]."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, value in enumerate(confidence) if (m - 1) / bins < value <= m / bins]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@st.composite
def decisions(draw):
    """Confidences, the bins' edges among them, whether each decision is right, and how often it is drawn."""
    bins = draw(st.sampled_from([1, 5, 10, 15]))
    edge = st.integers(1, bins).map(lambda m: m / bins)
    size = draw(st.integers(1, 30))
    confidence = draw(st.lists(edge | st.floats(0.01, 1), min_size=size, max_size=size))
    right = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    times = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size).filter(any))
    return bins, np.array(confidence), np.array(right), np.array(times)


@given(decisions())
def test_calibration_error_is_guos(case):
    bins, confidence, right, _ = case
    assert calibration_error(confidence, right, bins) == pytest.approx(guo(confidence, right, bins), abs=1e-12)


@given(decisions())
def test_weights_are_repeated_images(case):
    bins, confidence, right, times = case
    expected = guo(np.repeat(confidence, times), np.repeat(right, times), bins)
    found = calibration_error(confidence, right, bins, np.array([times, np.ones_like(times)], np.uint16))
    assert found == pytest.approx([expected, guo(confidence, right, bins)], abs=1e-12)


def test_calibration_error_by_hand():
    confidence, right = [0.9, 0.9, 0.3, 0.0], [True, False, True, False]
    assert calibration_error(confidence, right, 10) == pytest.approx((2 * 0.4 + 0.7) / 4)
    assert calibration_error(confidence, right) == calibration_error(confidence, right, 15)
    assert calibration_error([1.0, 1.0], [True, True]) == 0
    assert calibration_error([1.0], [False]) == 1


def test_no_weight_has_no_calibration_error():
    found = calibration_error([0.5, 0.7], [True, False], weights=[[0, 0], [1, 0]])
    assert math.isnan(found[0])
    assert found[1] == 0.5
