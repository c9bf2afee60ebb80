"""Detectors trained on real folders, and those that ship on real images, in process and on the real Triton."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.repository import find_entries
from tests.e2e.commands import folder_of, harness, table

FOLDERS = {"sd14": "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4", "mj": "Midjourney/imagenet_midjourney"}
"""GenImage's folders of the generators whose real images are at hand."""


@pytest.fixture(scope="module")
def genimage(discern_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and generated images in GenImage's layout: five of seven for training, the others for testing."""
    root = tmp_path_factory.mktemp("genimage")
    for name, folder in FOLDERS.items():
        for ours, theirs in (("ai", "1_fake"), ("nature", "0_real")):
            images = sorted((discern_data / "dif" / "images" / name / theirs).iterdir())
            for number, path in enumerate(images):
                split = "train" if number < 5 else "val"
                target = root / folder / split / ours / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    return root


def test_training_and_testing_on_folders_as_genimage_has_them(genimage: Path, suites: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `export` is not installed")
    settings = [
        "detectors.0.architecture=npr",
        "detectors.0.scale=miniature",
        "detectors.0.validation={share: 0.5}",
        "detectors.0.recipe={epochs: 3, batch: 4}",
        "precision=32-true",
        "check_served=false",
        f"repository={tmp_path / 'repository'}",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    environ = {"GENIMAGE_ROOT": str(genimage)}
    ended = harness("train", suites / "train/genimage.yaml", "--out", tmp_path / "out", *words, environ=environ)
    assert ended.returncode == 0, ended.stderr
    names = [entry.name for entry in find_entries(tmp_path / "repository")]
    assert names == ["npr.midjourney", "npr.sd14"]
    environ |= {"GENIMAGE_MODELS": "*"}
    words = ["--set", f"repository={tmp_path / 'repository'}", "--out", str(tmp_path / "out")]
    figures = table(
        folder_of(harness("run", suites / "genimage_cross.yaml", *words, environ=environ)), "leaderboard_figures"
    )
    assert set(figures["generator"]) == {"midjourney", "sd14"}
    assert (figures["detector"] + figures["generator"] + figures["condition"]).is_unique
    own = figures["detector"].str.partition(".")[2] == figures["generator"]
    assert ((figures["domain"] == "in-domain") == own).all()


@pytest.mark.slow
def test_every_shipped_detector_decides_the_same_on_a_real_triton(
    discern_data: Path, suites: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    environ = {"DETECT_ROOT": str(discern_data / "dif" / "images"), "DETECT_MODELS": "*.mini_gan"}
    words = ("run", suites / "detect_folder.yaml", "--out", tmp_path / "out", "--set", "tasks.0.subsets=[sd14, glide]")
    here, served = (
        table(folder_of(harness(*words, *more, environ=environ)), "folder_figures")
        for more in ((), ("--serve", "triton"))
    )
    decided = ["detector", "generator", "condition", "accuracy", "real_accuracy", "fake_accuracy", "balanced_accuracy"]
    pd.testing.assert_frame_equal(served[decided], here[decided])
    assert here["detector"].nunique() == 8
    assert set(here["generator"]) == {"sd14", "glide"}
