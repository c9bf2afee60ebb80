import math

import numpy as np
from sklearn.metrics import average_precision_score, jaccard_score

from harness.metrics.localisation import Found, Truth

RANDOM = np.random.default_rng(4)
SPOTS = np.zeros((60, 80), np.int32)
SPOTS[10:20, 10:20] = 1
SPOTS[40:44, 60:70] = 2
TRUTH = Truth(SPOTS)


def test_against_scikit_learn() -> None:
    values = RANDOM.random(SPOTS.shape).astype(np.float32).round(2) + (SPOTS > 0) * 0.3
    changed = np.ravel(SPOTS > 0)
    assert math.isclose(TRUTH.pixel_ap(values), average_precision_score(changed, np.ravel(values)))
    mask = values > 0.8
    assert math.isclose(TRUTH.iou(mask), jaccard_score(changed, np.ravel(mask)))


def test_nothing_changed() -> None:
    nothing = np.zeros_like(SPOTS)
    truth = Truth(nothing)
    assert truth.iou(nothing) == 1
    assert truth.iou(SPOTS) == 0
    assert math.isnan(truth.pixel_ap(nothing))
    assert math.isnan(truth.pointing(nothing))
    assert truth.found([(3, 3)]) == Found(0, 0, 1, 0)
    assert TRUTH.found([]) == Found(2, 0, 0, 0)


def test_peaks_point_at_spots() -> None:
    assert TRUTH.found([(12, 12), (15, 15), (42, 65), (30, 30)]) == Found(2, 2, 4, 3)
    assert TRUTH.found([(9, 12), (7, 12)]) == Found(2, 1, 2, 1)


def test_pointing_game() -> None:
    values = np.zeros(SPOTS.shape)
    values[42, 62] = 1
    assert TRUTH.pointing(values) == 1
    values[2, 2] = 2
    assert TRUTH.pointing(values) == 0
    corner = Truth(np.pad(np.ones((9, 9), np.int32), (0, 20)))
    assert corner.pointing(np.zeros((29, 29))) == 0
