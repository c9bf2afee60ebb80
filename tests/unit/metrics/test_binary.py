import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from harness import metrics
from harness.errors import DataError
from harness.metrics import binary


@st.composite
def cases(draw, least=2):
    """Scores full of ties, both labels, and counts under which both classes keep weight."""
    n = draw(st.integers(least, 40))
    level = st.sampled_from([-1.5, -0.1, 0.0, 0.1, 0.3, 2.0]) | st.floats(-5, 5, width=32)
    scores = np.array(draw(st.lists(level, min_size=n, max_size=n)))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[0], labels[1] = 0, 1
    weights = np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    weights[:2] = np.maximum(weights[:2], 1)
    return scores, labels, weights


def random_case(n=500, resamples=7, seed=0, decimals=1):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    scores = np.round(generator.normal(size=n) + labels, decimals)
    return scores, labels, generator.integers(0, 4, size=(resamples, n))


def reference_tpr(scores, labels, fpr, weights):
    false, true, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    return max(t for f, t in zip(false, true, strict=True) if f <= fpr + 1e-12)


class TestAgainstScikitLearn:
    @given(cases())
    def test_auroc(self, case):
        scores, labels, weights = case
        assert metrics.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        expected = roc_auc_score(labels, scores, sample_weight=weights)
        assert metrics.auroc(scores, labels, weights) == pytest.approx(expected, abs=1e-12)

    @given(cases())
    def test_average_precision(self, case):
        scores, labels, weights = case
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert metrics.average_precision(scores, labels, weights) == pytest.approx(expected, abs=1e-12)

    @given(cases(), st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0]))
    def test_tpr_at_fpr(self, case, fpr):
        scores, labels, weights = case
        expected = reference_tpr(scores, labels, fpr, weights)
        assert metrics.tpr_at_fpr(scores, labels, fpr, weights) == pytest.approx(expected, abs=1e-12)

    @given(cases(), st.sampled_from([-0.1, 0.0, 0.3, 9.0]))
    def test_rates(self, case, threshold):
        scores, labels, weights = case
        found = metrics.rates(scores, labels, threshold, weights)
        called = (scores > threshold).astype(int)
        assert found.fake_accuracy == pytest.approx(recall_score(labels, called, sample_weight=weights))
        assert found.real_accuracy == pytest.approx(recall_score(labels, called, pos_label=0, sample_weight=weights))
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called, sample_weight=weights))
        assert found.accuracy == pytest.approx(np.average(called == labels, weights=weights))

    @pytest.mark.parametrize("bins", [5, 15])
    def test_calibration_error(self, bins):
        generator = np.random.default_rng(3)
        probabilities = generator.beta(0.6, 0.6, 2000)
        labels = generator.integers(0, 2, 2000)
        shares, means = calibration_curve(labels, probabilities, n_bins=bins)
        sizes, _ = np.histogram(probabilities, bins=bins, range=(0, 1))
        expected = np.average(np.abs(shares - means), weights=sizes[sizes > 0])
        assert metrics.expected_calibration_error(probabilities, labels, bins) == pytest.approx(expected)

    @pytest.mark.parametrize("n", [3, 500, 3000])
    def test_every_resample_is_the_weighted_figure(self, n, monkeypatch):
        monkeypatch.setattr(binary, "CHUNK", 1000)
        scores, labels, weights = random_case(n)
        labels[:2], weights[:, :2] = (0, 1), 1
        found = metrics.auroc(scores, labels, weights)
        assert found.shape == (7,)
        assert found.dtype == np.float64
        expected = [roc_auc_score(labels, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(found, expected, atol=1e-12)


FIGURES = [
    metrics.auroc,
    metrics.average_precision,
    lambda s, y, w=None: metrics.tpr_at_fpr(s, y, 0.05, w),
    lambda s, y, w=None: metrics.rates(s, y, 0.2, w).balanced_accuracy,
    lambda s, y, w=None: metrics.rates(s, y, 0.2, w).accuracy,
    lambda s, y, w=None: metrics.expected_calibration_error(1 / (1 + np.exp(-s)), y, 15, w),
]


@pytest.mark.parametrize("figure", FIGURES)
@given(case=cases(least=6))
@settings(max_examples=30)
def test_a_count_is_that_many_copies(figure, case):
    scores, labels, counts = case
    copies = np.repeat(np.arange(len(scores)), counts)
    assert figure(scores, labels, counts) == pytest.approx(figure(scores[copies], labels[copies]), abs=1e-12)


@pytest.mark.parametrize("figure", FIGURES)
def test_chunks_do_not_show(figure, monkeypatch):
    scores, labels, weights = random_case(200)
    whole = figure(scores, labels, weights)
    monkeypatch.setattr(binary, "CHUNK", 450)
    np.testing.assert_array_equal(figure(scores, labels, weights), whole)
    assert figure(scores, labels).shape == figure(scores, labels, weights[0]).shape == ()


@pytest.mark.parametrize("figure", FIGURES[:4])
@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone_has_no_figure(figure, labels):
    assert math.isnan(figure(np.array([0.1, 0.2, 0.3]), np.array(labels)))


@pytest.mark.parametrize("figure", FIGURES)
def test_no_image_at_all_has_no_figure(figure):
    assert math.isnan(figure(np.zeros(0), np.zeros(0)))
    assert np.isnan(figure(np.zeros(0), np.zeros(0), np.zeros((2, 0)))).all()


def test_a_resample_without_a_class_is_nan_and_the_others_stand():
    found = metrics.auroc([0.1, 0.9], [0, 1], [[1, 1], [2, 0], [0, 2]])
    assert found[0] == 1
    assert np.isnan(found[1:]).all()


def test_rates_keep_what_one_class_allows():
    found = metrics.rates([0.1, 0.9], [0, 0], 0.5)
    assert found.real_accuracy == found.accuracy == 0.5
    assert math.isnan(found.fake_accuracy)
    assert math.isnan(found.balanced_accuracy)


@given(cases())
def test_auroc_turns_with_the_scores(case):
    scores, labels, weights = case
    flipped = metrics.auroc(-scores, labels, weights)
    assert metrics.auroc(scores, labels, weights) + flipped == pytest.approx(1)


def test_infinite_scores_rank_like_others():
    assert metrics.auroc([-np.inf, 0.0, np.inf, np.inf], [0, 1, 1, 0]) == pytest.approx(0.625)


@pytest.mark.parametrize(("fpr", "n"), [(0.29, 100), (0.07, 100), (0.01, 1000), (0.05, 6000)])
def test_the_allowed_rate_itself_is_allowed(fpr, n):
    allowed = round(fpr * n)
    scores = np.concatenate([np.arange(n), [n - allowed - 0.5]])
    labels = np.concatenate([np.zeros(n), [1]])
    assert metrics.tpr_at_fpr(scores, labels, fpr) == 1
    assert metrics.threshold_at_fpr(scores[:n], fpr) == n - allowed - 1


class TestThresholds:
    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.floats(0, 0.99))
    def test_at_fpr_is_the_smallest_that_keeps_it(self, reals, fpr):
        scores = np.array(reals, np.float64)
        threshold = metrics.threshold_at_fpr(scores, fpr)
        assert np.mean(scores > threshold) <= fpr
        assert np.mean(scores > np.nextafter(threshold, -np.inf)) > fpr

    def test_at_fpr_one_allows_everything(self):
        assert metrics.threshold_at_fpr([1.0, 2.0], 1.0) == -np.inf

    def test_at_fpr_needs_reals(self):
        with pytest.raises(DataError, match="real images"):
            metrics.threshold_at_fpr([], 0.05)

    @given(cases())
    def test_best_is_best(self, case):
        scores, labels, _ = case
        threshold = metrics.best_threshold(scores, labels)
        assert math.isfinite(threshold)
        candidates = [*scores, scores.min() - 1]
        best = max(float(metrics.rates(scores, labels, t).balanced_accuracy) for t in candidates)
        assert metrics.rates(scores, labels, threshold).balanced_accuracy == pytest.approx(best)

    def test_best_lies_half_way(self):
        assert metrics.best_threshold([0.0, 1.0, 3.0, 4.0], [0, 0, 1, 1]) == 2

    def test_best_of_a_useless_model_calls_nothing_fake(self):
        assert metrics.best_threshold([1.0, 2.0], [1, 0]) == 2

    def test_best_between_neighbouring_numbers_still_separates(self):
        above = np.nextafter(1.0, 2.0)
        assert metrics.best_threshold([1.0, above], [0, 1]) == 1

    def test_best_needs_both_classes(self):
        with pytest.raises(DataError, match="both classes"):
            metrics.best_threshold([1.0], [1])


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([0.1, np.nan], [0, 1], None, "nan"),
        ([0.1, 0.2], [0], None, "one label a score"),
        ([0.1, 0.2], [0, 2], None, "0 \\(real\\)"),
        ([0.1, 0.2], [0, 1], [1, 1, 1], "weights"),
    ],
)
def test_what_can_not_be_scored_is_refused(scores, labels, weights, message):
    with pytest.raises(ValueError, match=message):
        metrics.auroc(scores, labels, weights)


def test_calibration_error_refuses_logits():
    with pytest.raises(ValueError, match="probabilities"):
        metrics.expected_calibration_error([-3.0, 4.0], [0, 1])


def test_calibration_error_of_certain_and_right_is_zero():
    assert metrics.expected_calibration_error([0.0, 1.0], [0, 1]) == 0
    assert metrics.expected_calibration_error([1.0, 1.0], [0, 1]) == 0.5


@given(cases(), st.sampled_from([(), (0.01,), (0.0, 0.05, 0.29, 1.0)]))
def test_a_ranking_holds_the_same_figures(case, fprs):
    scores, labels, weights = case
    rows = np.stack([weights, np.ones_like(weights), np.zeros_like(weights)])
    found = metrics.ranking(scores, labels, fprs, rows)
    np.testing.assert_array_equal(found.auroc, metrics.auroc(scores, labels, rows))
    np.testing.assert_array_equal(found.average_precision, metrics.average_precision(scores, labels, rows))
    assert len(found.tpr) == len(fprs)
    for fpr, value in zip(fprs, found.tpr, strict=True):
        np.testing.assert_array_equal(value, metrics.tpr_at_fpr(scores, labels, fpr, rows))
