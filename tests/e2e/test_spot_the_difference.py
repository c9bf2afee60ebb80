"""The shipped suite of difference maps, cut down; and the puzzles of real data, by the method that pairs choose."""

import json
from pathlib import Path

import pytest

from tests.e2e.commands import folder_of, harness, table

pytest.importorskip("torch", reason="gradients need the extra `export`")

STRATEGIES = (
    "[difference metric=mae, difference metric=ssim, gradient metric=ms_ssim, gradcam model=cnnspot.mini_gan.gradcam]"
)
FEW = ("--set", f"tasks.0.methods.strategies={STRATEGIES}", "--set", "tasks.0.methods.preprocess=[identity, highpass]")


@pytest.fixture(scope="module")
def run(suites: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("spot")
    words = ("run", suites / "spot_the_difference.yaml", "--out", out, "--limit", 2, *FEW)
    words += ("--set", "tasks.0.pairs.generated.side=176", "--set", "tasks.0.degradations=[none, jpeg quality=30]")
    return folder_of(harness(*words))


def test_every_combination_is_ranked(run: Path) -> None:
    board = table(run, "spots_methods")
    assert len(board) == (3 * 2 + 1) * 5  # a model is not asked about what highpass leaves
    assert set(board["mark"].dropna()) == {"chosen", "baseline"}
    assert board["iou"].between(0, 1).all()
    ranked = board.sort_values("rank")["iou"]
    assert ranked.iloc[0] == board["iou"].max()


def test_the_chosen_method_beats_the_plain_one_under_jpeg(run: Path) -> None:
    gains = table(run, "spots_gains").set_index("condition")
    assert gains.loc["jpeg quality=30 subsampling=4:2:0", "iou"] > 0.1


def test_the_run_is_valid_and_names_every_cell(run: Path) -> None:
    said = json.loads((run / "run.json").read_text())
    assert said["verdict"] == "VALID"
    assert len(said["cells"]) == len(set(said["cells"].values())) == 7 * 6 * 2 * 2
