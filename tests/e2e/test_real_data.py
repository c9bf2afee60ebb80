"""Published fingerprints and real images, where DISCERN_DATA has them; nothing of them leaves the temporary folder."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")

STRONG = ("sd14", "mj", "dalle_mini", "sd21")


def harness(environ: dict[str, str], *words: object) -> Path:
    command = [sys.executable, "-m", "harness", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, **environ})
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return Path(ended.stdout.rsplit("Report: ", 1)[1].strip()).parent if "Report: " in ended.stdout else Path()


@pytest.fixture(scope="module")
def published(discern_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the published fingerprints over the shipped residual filter."""
    folder = tmp_path_factory.mktemp("published")
    filter_weights = Path(__file__).parents[2] / "export" / "weights" / "dncnn_miniature.pt"
    claims = folder / "claims.csv"
    claims.write_text("generator,accuracy\nsd14,99.3\nsd21,89.5\nmj,99.0\ndalle_mini,99.0\n")
    checkpoints = discern_data / "dif" / "checks"
    words = (
        "--checkpoints",
        checkpoints,
        "--filter",
        filter_weights,
        "--claims",
        claims,
        "--repository",
        folder / "repo",
    )
    harness({}, "export", "dif.published", *words)
    return folder


@pytest.fixture(scope="module")
def figures(published: Path, suites: Path) -> pd.DataFrame:
    environ = {"DIF_REPOSITORY": str(published / "repo")}
    folder = harness(environ, "run", suites / "dif_published.yaml", "--out", published / "out")
    return pd.read_csv(folder / "tables" / "published_figures.csv")


def test_published_fingerprints_know_their_generators(figures: pd.DataFrame) -> None:
    clean = figures[(figures["condition"] == "none") & (figures["domain"] == "in-domain")]
    found = dict(zip(clean["generator"], clean["auroc"], strict=True))
    assert set(found) == set(STRONG)
    assert min(found.values()) >= 0.98, found


def test_the_real_triton_decides_the_same_on_real_images(published: Path, suites: Path, figures: pd.DataFrame) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    environ = {"DIF_REPOSITORY": str(published / "repo")}
    words = ("run", suites / "dif_published.yaml", "--out", published / "out", "--serve", "triton")
    served = pd.read_csv(harness(environ, *words) / "tables" / "published_figures.csv")
    decided = ["accuracy", "real_accuracy", "fake_accuracy", "balanced_accuracy"]
    pd.testing.assert_frame_equal(served[decided], figures[decided])
    pd.testing.assert_frame_equal(served, figures, rtol=1e-4, atol=1e-6)


def test_claims_stand_beside_what_was_measured(published: Path, figures: pd.DataFrame) -> None:
    (folder,) = list((published / "out" / "runs").glob("*/tables/published_claims.csv"))[:1]
    claims = pd.read_csv(folder)
    assert set(claims["generator"]) == set(STRONG)
    assert claims["measured"].notna().all()


def test_the_audit_finds_mixed_formats_by_itself(published: Path, suites: Path, discern_data: Path) -> None:
    environ = {"DETECT_REPOSITORY": str(published / "repo"), "DETECT_ROOT": str(discern_data / "generators")}
    words = ("run", suites / "detect_folder.yaml", "--out", published / "out", "--limit", 6)
    audit = pd.read_csv(harness(environ, *words) / "tables" / "folder_audit.csv").set_index("generator")
    assert audit.loc["durall_gan128", "verdict"] == "confounded"
    assert audit.loc["eenx16", "is_it_a_jpeg"] == 0.5
    assert set(audit["verdict"]) <= {"confounded", "clean", "untestable"}


STATED = {"mobilenet_v2.tv_float": 0.857, "mobilenet_v2.tv_int8": 0.800, "squeezenet1_1.tv_float": 0.573}
"""Top-1 on these photographs as measured by other code."""

FILES = {
    "mobilenet_v2.tv_float": "mobilenet_v2_float_folded.pth",
    "mobilenet_v2.tv_int8": "mobilenet_v2_int8_torchscript.pth",
    "squeezenet1_1.tv_float": "squeezenet1_1.pth",
}


def test_real_classifiers_float_and_int8(discern_data: Path, suites: Path, tmp_path: Path) -> None:
    for name, file in FILES.items():
        weights = discern_data / "weights" / file
        harness({}, "export", name, "--weights", weights, "--repository", tmp_path / "repository")
    environ = {"CLASSIFIERS_REPOSITORY": str(tmp_path / "repository"), "IMAGENET_ROOT": str(discern_data / "imagenet")}
    folder = harness(environ, "run", suites / "classifiers_quantized.yaml", "--out", tmp_path / "out")
    board, pairs, variants = (
        pd.read_csv(folder / "tables" / f"quantized_{name}.csv").set_index(index)
        for name, index in (("leaderboard", "model"), ("pairs", "candidate"), ("variants", "candidate"))
    )
    for name, stated in STATED.items():
        assert board.loc[name, "top1_low"] <= stated <= board.loc[name, "top1_high"], name
    assert 0.8 < pairs.loc["mobilenet_v2.tv_int8", "agreement"] < 0.95
    served = variants.filter(like="@served", axis=0)
    assert len(served) == 3
    assert (served["agreement"] == 1).all()
