import cv2
import numpy as np
import pytest

from harness.difference import as_planes, difference, find, parse_method
from harness.difference.pictures import GAP, LONGEST, MARK, heat, overlay, sheet

RANDOM = np.random.default_rng(5)


def pair(height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    a = RANDOM.integers(60, 200, (height, width, 3), np.uint8)
    b = a.copy()
    b[20:40, 30:60] = 255 - b[20:40, 30:60]
    return a, b


def test_a_picture_of_a_few_columns_has_a_sheet() -> None:
    a = np.zeros((5000, 8, 3), np.float32)
    assert sheet(a, find(a, a, parse_method(), {}), ("a", "b")).ndim == 3


def test_heat_is_its_own_maximum_and_black_where_flat() -> None:
    values = np.linspace(0, 0.25, 256, dtype=np.float32).reshape(16, 16)
    shown = heat(values)
    assert shown.dtype == np.uint8 and shown.shape == (16, 16, 3)
    np.testing.assert_array_equal(shown, heat(values * 4))
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    np.testing.assert_array_equal(shown.reshape(-1, 3)[1:], table[1:])
    lightness = cv2.cvtColor(shown, cv2.COLOR_RGB2LAB)[..., 0].ravel().astype(int)
    assert (np.diff(lightness) >= 0).all() and lightness[-1] > 230
    for flat in (0.0, 1e-45):
        assert heat(np.full((8, 8), flat, np.float32))[0, 0].tolist() == (
            [0, 0, 0] if flat == 0 else table[-1].tolist()
        )


def test_the_overlay_keeps_what_differs_and_dims_the_rest() -> None:
    a, b = pair()
    found = difference(a, b)
    shown = overlay(found)
    assert shown.shape == a.shape
    np.testing.assert_array_equal(shown[26:34, 36:54], b[26:34, 36:54])
    assert shown[60:, :].mean() < 0.6 * b[60:, :].mean()
    assert (shown == MARK).all(axis=2).sum() > 2 * (20 + 30)
    assert overlay(found, 2.0).shape == (180, 240, 3)


def test_without_a_mask_the_map_shines_through() -> None:
    a, b = pair()
    shown = overlay(difference(a, b, postprocess="identity"))
    assert shown[20:40, 30:60].mean() > shown[60:].mean()
    assert not (shown == MARK).all(axis=2).any()


@pytest.mark.parametrize("size", [(90, 120), (60, 200), (800, 300), (8, 8)])
def test_a_sheet_has_four_panels_of_one_size(size: tuple[int, int]) -> None:
    a, b = pair(*size) if min(size) > 50 else (np.zeros((*size, 3), np.uint8),) * 2
    found = difference(a, b)
    shown = sheet(as_planes(a), found, ("before.png", "after " * 80), ("PSNR 20 dB", "word " * 300))
    columns = 2 if size[1] > 1.25 * size[0] else 4
    wide = (shown.shape[1] - GAP) / columns - GAP
    zoom = wide / size[1]
    assert zoom == int(zoom) if max(size) <= LONGEST else max(size) * zoom == LONGEST
    if zoom == int(zoom):
        panel = np.repeat(np.repeat(a, int(zoom), 0), int(zoom), 1)
        top = next(row for row in range(shown.shape[0]) if np.array_equal(shown[row, GAP : GAP + int(wide)], panel[0]))
        np.testing.assert_array_equal(shown[top : top + len(panel), GAP : GAP + int(wide)], panel)


def test_more_regions_than_can_be_numbered() -> None:
    a = np.zeros((200, 200, 3), np.uint8)
    b = a.copy()
    b[4::20, 4::20] = 255
    found = difference(a, b, postprocess="otsu")
    assert len(found.regions) == 100
    assert overlay(found).shape == a.shape
    assert sheet(as_planes(a), found, ("a", "b")).dtype == np.uint8
