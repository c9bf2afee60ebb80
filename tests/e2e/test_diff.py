"""`harness diff` as a user calls it: files, folders, broken and unusual images, and what lies on disk afterwards."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from PIL import Image as PILImage
from scipy import ndimage
from typer.testing import CliRunner

from harness.cli import app
from harness.difference import as_planes, difference
from harness.errors import CardError, DataError, SuiteError
from tests.e2e.commands import harness

SMOOTH = ndimage.gaussian_filter(np.random.default_rng(4).random((64, 80, 3)), (2, 2, 0))
A = np.asarray((SMOOTH - SMOOTH.min()) / np.ptp(SMOOTH) * 255, np.uint8)
B = A.copy()
B[10:26, 20:40] = 255 - B[10:26, 20:40]


def save(path: Path, pixels: np.ndarray, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(pixels).save(path, **more)
    return path


def diff(*words: object) -> Result:
    return CliRunner().invoke(app, ["diff", *map(str, words)])


def figures(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "figures.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_two_files(tmp_path: Path) -> None:
    a, b, out = save(tmp_path / "one.png", A), save(tmp_path / "two.png", B), tmp_path / "out"
    ended = harness("diff", a, b, "--metric", "ssim", "--figure", "dice", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert "one/sheet.png" in ended.stdout
    known = difference(A, B, metric="ssim")
    row = figures(out)["one"]
    np.testing.assert_array_equal(np.load(out / "one" / "map.npy"), known.map)
    np.testing.assert_array_equal(np.asarray(PILImage.open(out / "one" / "mask.png")) > 0, known.mask)
    assert row["boxes"] == "; ".join(" ".join(map(str, region.box)) for region in known.regions)
    assert int(row["regions"]) == len(known.regions) > 0
    assert float(row["strongest"]) == known.regions[0].strength
    expected = 10 * np.log10(255**2 / np.square(A.astype(float) - B).mean())
    assert float(row["psnr"]) == pytest.approx(expected, rel=1e-5)
    assert 0 < float(row["dice"]) < 1
    shown = [PILImage.open(out / "one" / f"{name}.png") for name in ("map", "overlay", "sheet")]
    assert [picture.mode for picture in shown] == ["RGB"] * 3
    assert shown[0].size == shown[1].size == (80, 64)


def test_equal_images_have_no_region_and_infinite_psnr(tmp_path: Path) -> None:
    a = save(tmp_path / "same.png", A)
    ended = diff(a, a, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    assert "No region stands out" in ended.output
    row = figures(tmp_path / "out")["same"]
    assert (float(row["psnr"]), float(row["ssim"]), float(row["mae"])) == (np.inf, 1, 0)
    assert (row["regions"], row["error"]) == ("0", "")
    assert not np.load(tmp_path / "out" / "same" / "map.npy").any()
    assert not np.asarray(PILImage.open(tmp_path / "out" / "same" / "map.png")).any()


def test_folders_name_what_fails_and_what_is_alone(tmp_path: Path) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "out"))
    save(a / "deep" / "one.png", A), save(b / "deep" / "one.png", B)
    save(a / "kind.png", A), save(b / "kind.bmp", A)
    save(a / "size.png", A), save(b / "size.png", A[:50])
    save(a / "cut.png", A), save(b / "cut.png", B)
    (b / "cut.png").write_bytes((b / "cut.png").read_bytes()[:900])
    save(a / "deep_one.png", A), save(b / "deep_one.png", A)
    save(a / "left.png", A), save(b / "right.png", A)
    (b / "notes.txt").write_text("no image")
    ended = diff(a, b, "--out", out)
    assert ended.exit_code == 0, ended.output
    rows = figures(out)
    assert {name: row["error"].partition(":")[0] for name, row in rows.items()} == {
        **dict.fromkeys(("left.png", "right.png"), "unmatched"),
        **dict.fromkeys(("deep_one", "deep_one-2", "kind"), ""),
        "cut": "truncated",
        "size": "sizes",
    }
    assert sorted(int(rows[name]["regions"]) for name in ("deep_one", "deep_one-2", "kind")) == [0, 0, 1]
    assert {path.name for path in out.iterdir()} == {"figures.csv", "deep_one", "deep_one-2", "kind"}
    assert "3 of 5 pairs compared, 2 failed, 2 of equal pixels." in ended.output
    assert f"1 only in {a}: left.png" in ended.output.replace("\n", "")


def turned(path: Path) -> Path:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    return save(path, np.rot90(A), exif=exif)


def deep(path: Path) -> Path:
    cv2.imwrite(str(path), A[..., ::-1].astype(np.uint16) * 257 + 100)
    return path


LAID_OVER_WHITE = np.rint(A * (128 / 255) + 127).astype(np.uint8)


@pytest.mark.parametrize(
    ("write", "alike"),
    [
        (turned, A),
        (deep, A),
        (lambda path: save(path, np.dstack([A, np.full(A.shape[:2], 128, np.uint8)])), LAID_OVER_WHITE),
        (lambda path: save(path, A[..., 0]), np.repeat(A[..., :1], 3, axis=2)),
    ],
    ids=["exif", "16 bits", "alpha", "gray"],
)
def test_unusual_images_become_defined_ones(tmp_path: Path, write: Callable[[Path], Path], alike: np.ndarray) -> None:
    unusual, plain = write(tmp_path / "unusual.png"), save(tmp_path / "plain.png", alike)
    ended = diff(unusual, plain, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    assert float(figures(tmp_path / "out")["unusual"]["mae"]) <= 1 / 255


def test_a_shifted_pair_is_measured_where_both_show(tmp_path: Path) -> None:
    large = np.asarray(PILImage.fromarray(A).resize((240, 192), PILImage.Resampling.BICUBIC))
    a, b = save(tmp_path / "a.png", large[:-8, :-5]), save(tmp_path / "b.png", large[8:, 5:])
    ended = diff(a, b, "--register", "phase", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    row = figures(tmp_path / "out")["a"]
    np.testing.assert_allclose([float(word) for word in row["shift"].split()], [-5, -8], atol=0.06)
    assert float(row["psnr"]) > 45
    assert float(row["ssim"]) > 0.99


def test_a_run_of_failures_is_invalid_and_leaves_no_older_picture(tmp_path: Path) -> None:
    a, b, out = save(tmp_path / "a.png", A), save(tmp_path / "b.png", B), tmp_path / "out"
    assert diff(a, b, "--out", out).exit_code == 0
    b.write_bytes(b"nothing")
    ended = diff(a, b, "--out", out)
    assert ended.exit_code == 4
    assert "not_an_image" in ended.output
    assert not list((out / "a").iterdir())
    assert figures(out)["a"]["error"].startswith("not_an_image")


def test_what_can_not_be_asked_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    a, out = save(tmp_path / "a" / "x.png", A), tmp_path / "out"
    save(tmp_path / "b" / "y.png", A)
    refused = {
        ("--figure", "lpips"): (SuiteError, "Write --weights squeeze"),
        ("--figure", "nothing"): (SuiteError, "Choose from"),
        ("--strategy", "gradients"): (SuiteError, "Did you mean 'gradient'"),
        ("--metric", "psnr"): (SuiteError, "'mae', 'mse', 'ssim'"),
        ("--weights", "squeeze"): (SuiteError, "Leave --weights out"),
        ("--endpoint", "grpc://nowhere/x"): (SuiteError, "--model NAME.gradcam"),
        ("--model", "x.gradcam", "--repository", tmp_path): (CardError, "harness export"),
    }
    for words, (kind, said) in refused.items():
        ended = diff(a, a, *words, "--out", out)
        assert isinstance(ended.exception, kind), (words, ended.output)
        assert said in str(ended.exception), words
    for words, said in {
        (tmp_path / "a", tmp_path / "b"): "images of one name",
        (a, tmp_path / "b"): "two of a kind",
        (a, tmp_path / "none.png"): "Check the path",
        ("--found", "none"): "harness list runs",
    }.items():
        ended = diff(*words, "--out", out)
        assert isinstance(ended.exception, DataError) and said in str(ended.exception), words
    assert diff(a).exit_code == diff(a, a, "--found", "run").exit_code == 2
    assert not out.exists()


def test_figures_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `export` is not installed")
    large = [np.kron(pixels, np.ones((3, 3, 1), np.uint8)) for pixels in (A, B)]
    a, b = (save(tmp_path / f"{name}.png", pixels) for name, pixels in zip("ab", large, strict=True))
    ended = diff(a, b, "--strategy", "gradient metric=ssim", "--figure", "ms_ssim", "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    assert 0 < float(figures(tmp_path / "out")["a"]["ms_ssim"]) < 1
    gradient = np.load(tmp_path / "out" / "a" / "map.npy")
    np.testing.assert_array_equal(
        gradient, difference(as_planes(large[0]), large[1], strategy="gradient", metric="ssim").map
    )
