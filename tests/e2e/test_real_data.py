"""Published fingerprints and real images, where DISCERN_DATA has them; nothing of them leaves the temporary folder."""

import os
from pathlib import Path

import pandas as pd
import pytest

from harness.serving import find_tritonserver
from tests.e2e.commands import folder_of, harness, table

pytest.importorskip("torch", reason="the extra `export` is not installed")

STRONG = ("sd14", "mj", "dalle_mini", "sd21")
CONDITIONS = ("--set", "tasks.0.degradations=[none, shift dx=1]", "--set", "tasks.0.harmonise=null")


@pytest.fixture(scope="module")
def published(discern_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the published fingerprints over the shipped residual filter."""
    folder = tmp_path_factory.mktemp("published")
    filter_weights = Path(__file__).parents[2] / "export" / "weights" / "dncnn_miniature.pt"
    checkpoints = discern_data / "dif" / "checks"
    words = (
        "--checkpoints",
        checkpoints,
        "--filter",
        filter_weights,
        "--repository",
        folder / "repo",
    )
    ended = harness("export", "dif.published", *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return folder


@pytest.fixture(scope="module")
def figures(published: Path, suites: Path) -> pd.DataFrame:
    environ = {"DIF_REPOSITORY": str(published / "repo")}
    words = ("run", suites / "dif_published.yaml", *CONDITIONS, "--out", published / "out")
    return table(folder_of(harness(*words, environ=environ)), "published_figures")


def test_published_fingerprints_know_their_generators(figures: pd.DataFrame) -> None:
    clean = figures[(figures["condition"] == "none") & (figures["domain"] == "in-domain")]
    found = dict(zip(clean["generator"], clean["auroc"], strict=True))
    assert set(found) == set(STRONG)
    assert min(found.values()) >= 0.98, found


def test_the_real_triton_decides_the_same_on_real_images(published: Path, suites: Path, figures: pd.DataFrame) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    environ = {"DIF_REPOSITORY": str(published / "repo")}
    words = ("run", suites / "dif_published.yaml", *CONDITIONS, "--out", published / "out", "--serve", "triton")
    served = table(folder_of(harness(*words, environ=environ)), "published_figures")
    decided = ["accuracy", "real_accuracy", "fake_accuracy", "balanced_accuracy"]
    pd.testing.assert_frame_equal(served[decided], figures[decided])
    pd.testing.assert_frame_equal(served, figures, rtol=1e-4, atol=1e-6)


def test_claims_stand_beside_what_was_measured(published: Path, figures: pd.DataFrame) -> None:
    (folder,) = list((published / "out" / "runs").glob("*/tables/published_claims.csv"))[:1]
    claims = pd.read_csv(folder)
    measured = set(claims.loc[claims["measured"].notna(), "generator"])
    assert set(STRONG) <= measured < set(claims["generator"])


def test_the_audit_finds_mixed_formats_by_itself(published: Path, suites: Path, discern_data: Path) -> None:
    environ = {"DETECT_REPOSITORY": str(published / "repo"), "DETECT_ROOT": str(discern_data / "generators")}
    words = ("run", suites / "detect_folder.yaml", "--out", published / "out", "--limit", 6)
    audit = table(folder_of(harness(*words, environ=environ)), "folder_audit").set_index("generator")
    assert audit.loc["durall_gan128", "verdict"] == "confounded"
    assert audit.loc["eenx16", "is_it_a_jpeg"] == 0.5
    assert set(audit["verdict"]) <= {"confounded", "clean", "untestable"}


def test_a_search_of_shifts_recovers_what_a_shift_destroys(
    discern_data: Path, suites: Path, figures: pd.DataFrame, tmp_path: Path
) -> None:
    words = ("--checkpoints", discern_data / "dif" / "checks", "--repository", tmp_path / "repo")
    ended = harness("export", "dif.published_aligned", *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    words = ["run", suites / "dif_published_sensitivity.yaml", "--out", tmp_path / "out"]
    words += ["--set", "tasks.0.degradations=[none, shift dx=1]", "--set", "models=[dif.published_aligned]"]
    environ = {"DIF_REPOSITORY": str(tmp_path / "repo")}
    aligned = table(folder_of(harness(*words, environ=environ)), "sensitivity_figures")
    if os.environ.get("DISCERN_FULL") and find_tritonserver() is not None:
        served = table(folder_of(harness(*words, "--serve", "triton", environ=environ)), "sensitivity_figures")
        pd.testing.assert_frame_equal(served, aligned, rtol=1e-4, atol=1e-6)

    def shifted(found: pd.DataFrame) -> float:
        own = found[(found["domain"] == "in-domain") & found["condition"].str.startswith("shift")]
        return float(own["auroc"].mean())

    assert shifted(aligned) >= 0.95
    assert shifted(aligned) > shifted(figures) + 0.3
