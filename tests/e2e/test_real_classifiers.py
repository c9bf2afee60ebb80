"""Real classifiers, float and int8, on real photographs, where DISCERN_DATA has them."""

from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.commands import folder_of, harness, table

pytest.importorskip("torch", reason="the extra `export` is not installed")

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
    _, boards = disagreements(discern_data, suites, classifiers, tmp_path, "--limit", 18)
    for role, board in boards.items():
        boundary = board.loc["boundary"]
        assert boundary["seeds"] >= 12, role
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
