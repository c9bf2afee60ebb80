import numpy as np
import pytest
import torch

from export.training.dif import NOISE_CHANNELS, UPS, UNet
from export.training.gray import train_gray
from harness.tasks.gray import stages

SMALL = {"base": 4, "side": 32, "steps": (0, 1, 20)}


@pytest.mark.parametrize("up", UPS)
def test_gray_is_approached_and_the_answers_kept(up: str) -> None:
    told: list[int] = []
    found = train_gray(up=up, report=lambda step, loss: told.append(step), **SMALL)  # type: ignore[arg-type]
    assert (found.up, found.steps) == (up, SMALL["steps"])
    assert told == list(found.steps)
    assert found.outputs.shape == (3, 3, 32, 32)
    assert found.losses[-1] < 0.9 * found.losses[0]
    for step, output in zip(found.steps, found.outputs.astype(np.float64), strict=True):
        assert ((0.5 * output) ** 2).mean() == pytest.approx(found.losses[step], rel=1e-3)


def test_a_seed_gives_the_same_again() -> None:
    first, again, other = (train_gray(seed=seed, base=4, side=32, steps=(0, 2)) for seed in (0, 0, 1))
    assert first.digest() == again.digest() != other.digest()


def test_untrained_transposed_convolutions_leave_the_lattice_and_repeated_pixels_less() -> None:
    started = {up: train_gray(up=up, base=8, side=64, steps=(0,)) for up in UPS}
    halves = {up: stages(history)[0].lattice[2] for up, history in started.items()}
    assert halves["transposed"] > 2 * halves["nearest"]


@pytest.mark.parametrize("up", UPS)
def test_every_way_to_enlarge_keeps_the_size(up: str) -> None:
    with torch.no_grad():
        assert UNet(4, up=up)(torch.rand(1, NOISE_CHANNELS, 48, 32)).shape == (1, 3, 48, 32)
