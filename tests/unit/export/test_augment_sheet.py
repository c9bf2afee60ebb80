from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from export.training.__main__ import app
from export.training.augment import AUGMENTATIONS
from export.training.augment_sheet import CELL, PICTURES, SHOWN, log_spectrum, sheet
from harness.data.miniature.photographs import PHOTOGRAPHS

TRACKED = Path(__file__).parents[3] / "docs" / "augmentation.png"


def test_the_tracked_picture_is_what_the_command_draws(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["augmentations", "--out", str(tmp_path / "new" / "sheet.png")])
    assert result.exit_code == 0, result.output
    with PILImage.open(tmp_path / "new" / "sheet.png") as made, PILImage.open(TRACKED) as tracked:
        assert made.size == tracked.size
        values = [np.asarray(picture.convert("RGB"), np.float64) for picture in (made, tracked)]
    assert np.abs(values[0] - values[1]).mean() < 3  # codecs and FFTs of other machines round otherwise
    assert TRACKED.stat().st_size <= 400_000


def test_one_seed_draws_one_sheet_and_another_draws_another() -> None:
    first, again, other = (np.asarray(sheet(seed).convert("RGB")) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.05


def test_every_augmentation_is_on_it() -> None:
    assert [title.split()[0] for title, _ in SHOWN] == list(AUGMENTATIONS)


@pytest.mark.parametrize("name", PICTURES)
def test_its_photographs_are_free_and_the_page_credits_them(name: str) -> None:
    photograph = next(item for item in PHOTOGRAPHS if item.name == name)
    assert photograph.licence in {"CC0", "public domain"}
    assert photograph.credit.split(",")[0] in TRACKED.with_suffix(".md").read_text(encoding="utf-8")


def test_a_wave_is_two_bright_points_of_the_spectrum() -> None:
    wave = 128 + 60 * np.cos(2 * np.pi * 20 * np.arange(CELL) / CELL)
    pixels = np.rint(np.broadcast_to(wave[None, :, None], (CELL, CELL, 3))).astype(np.uint8)
    drawn = log_spectrum(pixels).sum(axis=2)
    rows, columns = np.nonzero(drawn > 0.5 * drawn.max())
    assert set(rows) == {CELL // 2, CELL // 2 + 1}
    assert {CELL // 2 - 20, CELL // 2 + 20} <= set(columns)
    assert drawn[: CELL // 4].max() < 0.2 * drawn.max()
