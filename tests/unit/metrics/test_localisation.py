import math

import numpy as np
from sklearn.metrics import average_precision_score, jaccard_score

from harness.metrics.localisation import Found, found_spots, iou, pixel_ap, pointing

RANDOM = np.random.default_rng(4)
TRUTH = np.zeros((60, 80), np.int32)
TRUTH[10:20, 10:20] = 1
TRUTH[40:44, 60:70] = 2


def test_against_scikit_learn() -> None:
    values = RANDOM.random(TRUTH.shape).astype(np.float32).round(2) + (TRUTH > 0) * 0.3
    changed = np.ravel(TRUTH > 0)
    assert math.isclose(pixel_ap(values, TRUTH), average_precision_score(changed, np.ravel(values)))
    mask = values > 0.8
    assert math.isclose(iou(mask, TRUTH), jaccard_score(changed, np.ravel(mask)))


def test_nothing_changed() -> None:
    nothing = np.zeros_like(TRUTH)
    assert iou(nothing, nothing) == 1
    assert iou(TRUTH, nothing) == 0
    assert math.isnan(pixel_ap(nothing, nothing))
    assert math.isnan(pointing(nothing, nothing))
    assert found_spots([(3, 3)], nothing) == Found(0, 0, 1, 0)
    assert found_spots([], TRUTH) == Found(2, 0, 0, 0)


def test_peaks_point_at_spots() -> None:
    assert found_spots([(12, 12), (15, 15), (42, 65), (30, 30)], TRUTH) == Found(2, 2, 4, 3)
    assert found_spots([(9, 12), (7, 12)], TRUTH) == Found(2, 1, 2, 1)


def test_pointing_game() -> None:
    values = np.zeros(TRUTH.shape)
    values[42, 62] = 1
    assert pointing(values, TRUTH) == 1
    values[2, 2] = 2
    assert pointing(values, TRUTH) == 0
