"""What making a model's inputs costs beside the bare Pillow and OpenCV calls that it stands for, one thread each."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image as PILImage

from harness.data.sample import Sample
from harness.engines import prepare
from harness.images.preprocess import Preprocess

FLOOR = 0.7
IMAGES = 24
SPEC = Preprocess(resize=256, crop=224)
ASKED = sorted((name, SPEC) for name in ("none", "jpeg quality=65", "blur sigma=3", "downsample size=112"))


class InMemory:
    """Photograph-like JPEG files."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.files = []
        for _ in range(IMAGES):
            small = PILImage.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            buffer = io.BytesIO()
            small.resize((640, 480), PILImage.Resampling.BICUBIC).save(buffer, "jpeg", quality=92)
            self.files.append(buffer.getvalue())

    def read(self, sample: Sample) -> bytes:
        return self.files[int(sample.path)]


def sample(number: int) -> Sample:
    return Sample(str(number), "", 0, 640, 480, "jpeg", 92, 0, "nature", "test", str(number))


def cut(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    side = 256 / min(height, width)
    if side != 1:
        size = (round(width * side), round(height * side))
        image = np.asarray(PILImage.fromarray(image).resize(size, PILImage.Resampling.BILINEAR))
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    return np.ascontiguousarray(image[top : top + 224, left : left + 224])


def bare(data: bytes) -> list[np.ndarray]:
    """Do by hand what is asked, decoding once."""
    with PILImage.open(io.BytesIO(data)) as opened:
        image = np.asarray(opened.convert("RGB"))
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "JPEG", quality=65, subsampling="4:2:0", optimize=False)
    with PILImage.open(buffer) as again:
        jpeg = np.asarray(again.convert("RGB"))
    blurred = cv2.GaussianBlur(image.astype(np.float32), (25, 25), 3, sigmaY=3, borderType=cv2.BORDER_REFLECT_101)
    blurred = np.clip(np.rint(blurred), 0, 255).astype(np.uint8)
    small = np.asarray(PILImage.fromarray(image).resize((149, 112), PILImage.Resampling.BICUBIC))
    return [cut(blurred), cut(small), cut(jpeg), cut(image)]


def test_inputs_cost_little_more_than_their_pixels(ratio: Callable[..., float]) -> None:
    data = InMemory()

    def ours() -> list[dict[object, np.ndarray]]:
        return [prepare(data, sample(number), ASKED, 0) for number in range(IMAGES)]  # type: ignore[arg-type]

    def theirs() -> list[list[np.ndarray]]:
        return [bare(file) for file in data.files]

    for made, wanted in zip(ours(), theirs(), strict=True):
        for key, by_hand in zip(sorted(made), wanted, strict=True):
            assert np.array_equal(made[key], by_hand), key
    assert ratio(ours, theirs, rounds=5) > FLOOR
