import numpy as np
import pytest
from scipy import ndimage

from harness.difference import as_planes, difference, parse_method
from harness.errors import ImageError, SuiteError

RANDOM = np.random.default_rng(3)
A = np.asarray(ndimage.gaussian_filter(RANDOM.random((96, 120, 3)), (1, 1, 0)) * 255, np.uint8)
B = A.copy()
B[20:36, 30:50] = 255 - B[20:36, 30:50]
B[60:64, 90:94] = (255, 0, 0)

WAYS = ["mae", "mse", "ssim"]
PREPROCESSORS = ["identity", "normalize", "highpass", "lowpass cutoff=0.3", "wavelet", "wavelet bands=detail"]


@pytest.mark.parametrize("preprocess", PREPROCESSORS)
@pytest.mark.parametrize("metric", WAYS)
def test_equal_images_differ_nowhere(metric: str, preprocess: str) -> None:
    for steps in ("otsu + cleanup", "percentile", "local", "deviations", "smooth + otsu"):
        found = difference(A, A, metric=metric, preprocess=preprocess, postprocess=steps)
        assert not found.map.any()
        assert found.mask is not None
        assert not found.mask.any()
        assert found.regions == ()


@pytest.mark.parametrize("metric", ["mae", "ssim"])
def test_two_changes_are_two_regions(metric: str) -> None:
    found = difference(A, B, metric=metric, postprocess="otsu + cleanup area=0.0005")
    boxes = [region.box for region in found.regions]
    assert len(boxes) == 2
    for top, left, bottom, right in boxes:
        row, column = (top + bottom) / 2, (left + right) / 2
        assert (abs(row - 28) < 3 and abs(column - 40) < 3) or (abs(row - 62) < 3 and abs(column - 92) < 3)


@pytest.mark.parametrize("radius", [1, 3])
def test_tolerance_is_the_range_of_the_other_image_around_a_pixel(radius: int) -> None:
    a, b = RANDOM.random((2, 24, 31, 3)).astype(np.float32)
    expected = np.zeros((24, 31))
    for row in range(radius, 24 - radius):
        for column in range(radius, 31 - radius):
            around = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
            for one, other in ((a, b), (b, a)):
                low, high = other[around].min(axis=(0, 1)), other[around].max(axis=(0, 1))
                left = np.maximum(one[row, column] - high, low - one[row, column]).max()
                expected[row, column] = max(expected[row, column], left)
    found = difference(a, b, strategy=f"tolerant radius={radius}", postprocess="identity")
    np.testing.assert_allclose(found.map, expected, atol=1e-6)


def test_tolerance_overlooks_a_shift_and_sees_a_spot() -> None:
    a = RANDOM.integers(50, 200, (64, 64, 3), dtype=np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    moved = np.roll(a, (1, -1), axis=(0, 1))
    steps = "level at=0.1 + cleanup specks=5"
    assert not difference(a, moved, strategy="tolerant", postprocess=steps).regions
    moved[40:46, 50:56] = 255
    (spot,) = difference(a, moved, strategy="tolerant", postprocess=steps).regions
    assert spot.box == (40, 50, 46, 56)
    assert difference(a, moved, postprocess=steps).map.mean() > 0.1


def test_a_level_means_the_same_in_every_picture_and_specks_are_counted_in_pixels() -> None:
    a = np.zeros((80, 100))
    b = a.copy()
    b[10, 10:14] = 0.3
    b[40:42, 60:63] = 0.3
    b[60:70, 20:30] = 0.1
    steps = "level at=0.2 + cleanup specks={} close=0 area=0"
    kept = {specks: len(difference(a, b, postprocess=steps.format(specks)).regions) for specks in (0, 4, 5, 7)}
    assert kept == {0: 2, 4: 2, 5: 1, 7: 0}
    assert not difference(a, a, postprocess="level at=0").regions


def test_signed_channels_do_not_cancel() -> None:
    a = np.full((16, 16, 3), 0.5)
    b = a + np.array([0.2, -0.2, 0.0])
    for channels, expected in (("mean", 0.4 / 3), ("max", 0.2), ("l2", 0.2 * 2**0.5)):
        found = difference(a, b, strategy=f"difference channels={channels}", postprocess="identity")
        np.testing.assert_allclose(found.map, expected, rtol=1e-5)
        assert found.mask is None


def test_inputs_are_left_as_they_are() -> None:
    a, b = A.astype(np.float32) / 255, B.astype(np.float32) / 255
    kept = a.copy(), b.copy()
    difference(a, b, metric="ssim", preprocess="normalize", register="phase", postprocess="smooth + otsu + cleanup")
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])


@pytest.mark.parametrize("register", ["phase", "ecc motion=translation"])
def test_a_shifted_pair_is_laid_over(register: str) -> None:
    smooth = ndimage.gaussian_filter(RANDOM.random((96, 120, 3)), (1, 1, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    moved = np.clip(ndimage.shift(smooth, (1.5, -2.25, 0), order=3, mode="nearest"), 0, 1)
    plain = difference(smooth, moved, postprocess="identity")
    found = difference(smooth, moved, postprocess="identity", register=register)
    np.testing.assert_allclose(found.registered.matrix, [[1, 0, -2.25], [0, 1, 1.5]], atol=0.15)
    assert not found.registered.known.all()
    assert not found.map[~found.registered.known].any()
    assert found.map[8:-8, 8:-8].mean() < plain.map[8:-8, 8:-8].mean() / 10


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("blur", [0, 2, 6])
def test_a_shift_is_believed_where_it_helps(blur: float, noise: float) -> None:
    a = ndimage.gaussian_filter(RANDOM.random((64, 64, 3)), (blur, blur, 0))
    b = np.clip(a + RANDOM.normal(scale=noise, size=a.shape), 0, 1)
    found = difference(a, b, postprocess="identity", register="phase").registered
    known = found.known
    assert np.square(found.planes - a)[known].mean() <= np.square(b - a)[known].mean() + 1e-9


@pytest.mark.parametrize("register", ["phase", "ecc"])
def test_equal_and_flat_images_stay_as_they_lie(register: str) -> None:
    flat = np.full((32, 32, 3), 0.25)
    for a in (A, flat):
        found = difference(a, a, register=register)
        assert found.registered.known.all()
        assert not found.map.any()


def test_noise_alone_moves_nothing() -> None:
    a = np.asarray(A, np.float64) / 255
    for seed in range(5):
        b = np.clip(a + np.random.default_rng(seed).normal(scale=0.1, size=a.shape), 0, 1)
        np.testing.assert_array_equal(difference(a, b, register="phase").registered.matrix, np.eye(2, 3))


def test_a_map_of_no_numbers_is_refused() -> None:
    def nan(image: np.ndarray, target: int | None) -> tuple[np.ndarray, int]:
        return np.full(image.shape[:2], np.nan, np.float32), 0

    with pytest.raises(ImageError, match="finite"):
        difference(A, B, strategy="gradcam model=one.gradcam", cams={"one.gradcam": nan})


def test_what_can_not_be_laid_over_is_refused() -> None:
    with pytest.raises(ImageError, match="one size") as caught:
        difference(A, A[:-1])
    assert caught.value.reason == "sizes"
    far = np.roll(A, (40, 0), (0, 1))
    with pytest.raises(ImageError, match="phase correlation") as caught:
        difference(A, far, register="phase")
    assert caught.value.reason == "unregistered"


def test_regions_carry_their_peaks() -> None:
    found = difference(A, B, postprocess="otsu + cleanup")
    assert found.mask is not None
    assert sum(region.area for region in found.regions) == found.mask.sum()
    for region in found.regions:
        top, left, bottom, right = region.box
        assert found.map[region.peak] == region.strength == found.map[top:bottom, left:right].max()
        assert found.mask[region.peak]
    strengths = [region.strength for region in found.regions]
    assert strengths == sorted(strengths, reverse=True)


def test_cleanup_fills_joins_and_drops() -> None:
    (step,) = parse_method(postprocess="otsu + cleanup close=0.02 area=0.001 fill=0.01").postprocess[1:]
    mask = np.zeros((100, 100), bool)
    mask[10:30, 10:30] = True
    mask[15:25, 15:25] = False
    mask[10:30, 32:40] = True
    mask[80:82, 80:82] = True
    cleaned = step(mask)
    assert cleaned[12:28, 10:40].all()
    assert not cleaned[40:].any()
    mask[40:70, 50:90] = True
    mask[45:65, 55:85] = False
    assert not step(mask)[50:60, 60:80].any()  # 6 % of the picture is no hole


@pytest.mark.parametrize(
    "parts",
    [
        {"strategy": "difference metric=psnr"},
        {"strategy": "nothing"},
        {"postprocess": "cleanup + otsu"},
        {"postprocess": "otsu + percentile"},
        {"postprocess": "smooth"},
        {"register": "sift"},
        {"strategy": "gradcam model=a.gradcam", "preprocess": "highpass"},
        {"strategy": "difference metric=lpips"},
        {"strategy": "gradient metric=ssim weights=squeeze"},
        {"strategy": {"gradient": {"metric": "lpips", "weights": "squeeze:/my data/x.pth"}}},
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts: dict[str, str]) -> None:
    with pytest.raises(SuiteError):
        parse_method(**parts)


def test_an_id_reads_back() -> None:
    method = parse_method("gradient", {"wavelet": {"level": 3}}, ["smooth", {"percentile": {"q": 98}}], "phase")
    parts = method.id.split(" | ")
    assert parse_method(*parts) == method


def test_gradcam_needs_its_model() -> None:
    with pytest.raises(SuiteError, match=r"nobody\.gradcam"):
        difference(A, B, strategy="gradcam model=nobody.gradcam")
    flat = {"one.gradcam": lambda image, target: (image[:, :, 0], target or 0)}
    found = difference(A, B, strategy="gradcam model=one.gradcam", postprocess="identity", cams=flat)
    np.testing.assert_allclose(found.map, np.abs(as_planes(A) - as_planes(B))[:, :, 0])
