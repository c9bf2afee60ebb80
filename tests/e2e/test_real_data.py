"""Published fingerprints and real images, where DISCERN_DATA has them; nothing of them leaves the temporary folder."""

from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.commands import folder_of, harness, table

pytest.importorskip("torch", reason="the extra `export` is not installed")

STRONG = ("sd14", "mj", "dalle_mini", "sd21")


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
    words = ("run", suites / "dif_published.yaml", "--out", published / "out")
    return table(folder_of(harness(*words, environ=environ)), "published_figures")


def test_published_fingerprints_know_their_generators(figures: pd.DataFrame) -> None:
    clean = figures[(figures["condition"] == "none") & (figures["domain"] == "in-domain")]
    found = dict(zip(clean["generator"], clean["auroc"], strict=True))
    assert set(found) == set(STRONG)
    assert min(found.values()) >= 0.98, found


def test_the_real_triton_decides_the_same_on_real_images(published: Path, suites: Path, figures: pd.DataFrame) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    environ = {"DIF_REPOSITORY": str(published / "repo")}
    words = ("run", suites / "dif_published.yaml", "--out", published / "out", "--serve", "triton")
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


STATED = {"mobilenet_v2.tv_float": 0.857, "mobilenet_v2.tv_int8": 0.800, "squeezenet1_1.tv_float": 0.573}
"""Top-1 on these photographs as measured by other code."""


def test_real_classifiers_float_and_int8(discern_data: Path, suites: Path, classifiers: Path, tmp_path: Path) -> None:
    environ = {"CLASSIFIERS_REPOSITORY": str(classifiers), "IMAGENET_ROOT": str(discern_data / "imagenet")}
    folder = folder_of(
        harness("run", suites / "classifiers_quantized.yaml", "--out", tmp_path / "out", environ=environ)
    )
    board, pairs, variants = (
        table(folder, f"quantized_{name}").set_index(index)
        for name, index in (("leaderboard", "model"), ("pairs", "candidate"), ("variants", "candidate"))
    )
    for name, stated in STATED.items():
        assert board.loc[name, "top1_low"] <= stated <= board.loc[name, "top1_high"], name
    assert 0.8 < pairs.loc["mobilenet_v2.tv_int8", "agreement"] < 0.95
    served = variants.filter(like="@served", axis=0)
    assert len(served) == 3
    assert (served["agreement"] == 1).all()


def disagreements(
    data: Path, suites: Path, repository: Path, out: Path, *words: object
) -> tuple[Path, dict[str, pd.DataFrame]]:
    """Search the real pair in both roles with the quick searchers."""
    environ = {
        "CLASSIFIERS_REPOSITORY": str(repository),
        "IMAGENET_ROOT": str(data / "imagenet"),
        "FLOAT": "mobilenet_v2.tv_float",
        "INT8": "mobilenet_v2.tv_int8",
    }
    searchers = "tasks.0.searchers=[boundary, difffinder_cw iterations=20, dflare queries=50]"
    folder = folder_of(
        harness("run", suites / "diff_finder.yaml", "--out", out, "--set", searchers, *words, environ=environ)
    )
    boards = {
        role: table(folder, f"diff_finder_{number}_leaderboard").set_index("searcher")
        for number, role in enumerate(("float -> int8", "int8 -> float"))
    }
    return folder, boards


def test_a_real_pair_disagrees_close_to_every_seed(
    discern_data: Path, suites: Path, classifiers: Path, tmp_path: Path
) -> None:
    _, boards = disagreements(discern_data, suites, classifiers, tmp_path, "--limit", 30)
    for role, board in boards.items():
        boundary = board.loc["boundary"]
        assert boundary["seeds"] >= 20, role
        assert boundary["sr_8bit"] == boundary["sr_float"] == 1, role
        assert boundary["psnr"] > 60, role
        assert float(boundary["gradients"].split()[0]) <= 4, role
    assert float(boards["float -> int8"].loc["boundary", "black"].split()[0]) <= 2
    published = boards["float -> int8"].loc["difffinder_cw iterations=20"]
    assert published["sr_8bit"] < published["sr_float"]
    assert published["psnr"] < boards["float -> int8"].loc["boundary", "psnr"] - 10


def test_a_real_pair_on_a_real_triton(discern_data: Path, suites: Path, classifiers: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    words = ("--limit", 8, "--serve", "triton")
    _, served = disagreements(discern_data, suites, classifiers, tmp_path, *words)
    assert all(board.loc["boundary", "sr_8bit"] == 1 for board in served.values())


def test_a_search_of_shifts_recovers_what_a_shift_destroys(
    discern_data: Path, suites: Path, figures: pd.DataFrame, tmp_path: Path
) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    words = ("--checkpoints", discern_data / "dif" / "checks", "--repository", tmp_path / "repo")
    ended = harness("export", "dif.published_aligned", *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    words = ("--set", "tasks.0.degradations=[none, shift dx=1]", "--set", "models=[dif.published_aligned]")
    environ = {"DIF_REPOSITORY": str(tmp_path / "repo")}
    suite = suites / "dif_published_sensitivity.yaml"
    aligned, served = (
        table(folder_of(harness("run", suite, *words, *more, environ=environ)), "sensitivity_figures")
        for more in (("--out", tmp_path / "out"), ("--out", tmp_path / "out", "--serve", "triton"))
    )
    pd.testing.assert_frame_equal(served, aligned, rtol=1e-4, atol=1e-6)

    def shifted(found: pd.DataFrame) -> float:
        own = found[(found["domain"] == "in-domain") & found["condition"].str.startswith("shift")]
        return float(own["auroc"].mean())

    assert shifted(aligned) >= 0.95
    assert shifted(aligned) > shifted(figures) + 0.3
