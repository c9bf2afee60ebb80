import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from harness.fingerprints.fitting import fit_reference
from harness.fingerprints.reference import Reference
from harness.images.preprocess import Preprocess
from harness.report.artifacts import artifact_tiles, stretched
from harness.spec.suite import ReferenceSpec
from tests.unit.fingerprints.pictures import SIDE, opened, pictures, put

SPACES = ("rgb", "frequency")


def made() -> np.ndarray:
    """The first reference picture, a little brighter in one corner."""
    image = (pictures(3)[1] // 2).astype(np.uint8)
    image[:4, :4] += 9
    return image


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    images = {("train", "nature"): pictures(3) // 2, ("test", "gan"): made()[None], ("test", "nature:gan"): pictures(2)}
    return put(root, images)


def fitted(table: Path, folder: Path, side: int = SIDE) -> list[Reference]:
    crop = Preprocess(crop=side)
    return [fit_reference(ReferenceSpec(data="pictures", space=space), opened(table), crop, folder) for space in SPACES]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(PILImage.open(io.BytesIO(png)))


def test_an_image_its_neighbour_and_their_difference(table: Path, tmp_path: Path) -> None:
    tiles = list(artifact_tiles(["gan", "nature:gan"], "test", opened(table), fitted(table, tmp_path)))
    assert [tile.caption for tile in tiles] == ["gan"] * 6 + ["nature"] * 6
    own, nearest, artifact = (pixels(tile.image_png) for tile in tiles[:3])
    np.testing.assert_array_equal(own, made())
    np.testing.assert_array_equal(nearest, pictures(3)[1] // 2)
    assert (artifact[4:, 4:] == 128).all()
    assert (artifact[:4, :4] == 255).all()
    assert [tile.detail.split(" x ")[0] for tile in tiles[3:6]] == [
        "its spectrum",
        "nearest real spectrum",
        "artifact in spectrum",
    ]


def test_spaces_and_images_without_pictures_are_left_out(table: Path, tmp_path: Path) -> None:
    assert list(artifact_tiles(["gan"], "test", opened(table), [])) == []
    assert list(artifact_tiles(["flow"], "test", opened(table), fitted(table, tmp_path))) == []


def test_what_can_not_be_read_is_left_out(table: Path, tmp_path: Path) -> None:
    references = fitted(table, tmp_path / "references")
    broken = put(tmp_path, {("test", "gan"): pictures(1), ("test", "flow"): pictures(1, seed=3)})
    (tmp_path / "test" / "gan" / "000.png").write_bytes(b"no picture")
    tiles = list(artifact_tiles(["gan", "flow"], "test", opened(broken), references))
    assert {tile.caption for tile in tiles} == {"flow"}


def test_stretching_keeps_zero_grey_and_says_its_factor() -> None:
    artifact = np.zeros((3, 10, 10), np.float32)
    artifact[:, 0] = 0.1
    artifact[:, 1] = -0.05
    image, gain = stretched(artifact)
    assert gain == pytest.approx(5)
    assert (image[0] == 255).all() and (image[2:] == 128).all()
    assert image[1] == pytest.approx(np.full((10, 3), 64), abs=1)
    assert stretched(np.zeros((3, 2, 2), np.float32))[1] == 1
