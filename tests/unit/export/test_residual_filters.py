from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from export.residual_filters import Bilateral, DnCNN, load_filter
from export.training.residual import train_residual_filter
from harness.errors import CheckpointError

IMAGES = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0))


def worn(depth: int = 4, width: int = 8) -> DnCNN:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    network = DnCNN(depth, width).train()
    for _ in range(3):
        network(torch.rand(4, 3, 16, 16))
    return network.eval()


def test_folding_changes_nothing() -> None:
    network = worn()
    with torch.no_grad():
        torch.testing.assert_close(network.folded()(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-6)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.folded())


def test_weights_come_back(tmp_path: Path) -> None:
    worn().save(tmp_path / "w.pt")
    with torch.no_grad():
        torch.testing.assert_close(load_filter(str(tmp_path / "w.pt"))(IMAGES), worn().folded()(IMAGES))


def test_incomplete_or_foreign_weights_are_refused(tmp_path: Path) -> None:
    state = worn().state_dict()
    state.popitem()
    torch.save({"depth": 4, "width": 8, "state": state}, tmp_path / "part.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name in ("part.pt", "text.pt", "none.pt"):
        with pytest.raises(CheckpointError, match="weights of a residual filter"):
            load_filter(str(tmp_path / name))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch pwned",)


def test_code_in_weights_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"depth": 4, "width": 8, "state": Evil()}, "evil.pt")
    with pytest.raises(CheckpointError):
        load_filter("evil.pt")
    assert not Path("pwned").exists()


def test_the_bilateral_residual_is_opencvs() -> None:
    image = np.random.default_rng(0).random((32, 40, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(image, (5, 5), 2)
    wanted = smooth - cv2.bilateralFilter(smooth, 5, 25 / 255, 2, borderType=cv2.BORDER_REFLECT_101)
    found = Bilateral()(torch.from_numpy(smooth).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_a_flat_image_leaves_no_residual() -> None:
    assert float(Bilateral()(torch.full((1, 3, 9, 9), 0.4)).abs().max()) < 1e-6


@pytest.mark.slow
def test_training_learns_noise() -> None:
    photograph = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8), (0, 0), 4)
    seen: list[float] = []
    train_residual_filter(
        [photograph], steps=151, seed=0, depth=4, width=16, side=32, report=lambda step, loss: seen.append(loss)
    )
    assert seen[-1] < 0.85  # a filter that finds no noise has 1
    assert seen[-1] < seen[0]
