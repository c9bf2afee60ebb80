from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.training.dif import (
    Classes,
    FingerprintTraining,
    Residuals,
    UNet,
    correlate,
    normalise,
    pair_loss,
    train_fingerprint,
)
from export.training.spec import FingerprintSpec
from harness.errors import CheckpointError, DivergedError
from harness.fingerprints.bank import Bank

SIDE = 32


def stored(residuals: NDArray[np.floating]) -> Residuals:
    """Residuals (n, 3, H, W) as training keeps them, in half precision."""
    rows = normalise(torch.from_numpy(residuals.astype(np.float32))).half().numpy()
    return Residuals(rows, np.arange(len(rows)))


def test_correlations_are_pearsons() -> None:
    random = np.random.default_rng(0)
    residuals, fingerprint = random.normal(1, 2, (5, 3, 8, 8)), random.normal(3, 1, (3, 8, 8))
    found = correlate(torch.from_numpy(fingerprint).float(), stored(residuals).take(np.arange(5)))
    wanted = [np.corrcoef(item.ravel(), fingerprint.ravel())[0, 1] for item in residuals]
    np.testing.assert_allclose(found, wanted, atol=3e-5)


def test_a_flat_residual_correlates_with_nothing() -> None:
    assert float(correlate(torch.rand(3, 4, 4), normalise(torch.ones(1, 3, 4, 4)))) == 0


def test_the_loss_by_hand() -> None:
    correlations = torch.tensor([0.010, 0.000, 0.004, 0.020])
    labels = torch.tensor([0, 1, 0, 0])
    alike, unlike = abs(0.010 - 0.004), 0.0
    assert float(pair_loss(correlations, labels, 0.01)) == pytest.approx((alike + unlike) / 2 / 0.01)
    near = torch.tensor([0.010, 0.000, 0.004, 0.003])
    assert float(pair_loss(near, labels, 0.01)) == pytest.approx((alike + (0.01 - 0.003)) / 2 / 0.01)


def test_the_network_keeps_the_size() -> None:
    made = UNet(4)(torch.rand(1, 16, SIDE, 2 * SIDE))
    assert made.shape == (1, 3, SIDE, 2 * SIDE)
    assert float(made.detach().abs().max()) < 1


CHECKER = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2.0 - 1


def planted(count: int, seed: int) -> Classes:
    """Noise, and noise with a checkerboard in it."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 1, (2, count, 3, SIDE, SIDE))
    return Classes(stored(noise[0]), stored(noise[1] + 0.3 * CHECKER))


def training(train: Classes, **said: object) -> FingerprintTraining:
    spec = FingerprintSpec.model_validate({"data": "d", "tag": "t", "size": SIDE, "base": 8, "batch": 32, **said})
    return FingerprintTraining(spec, 0, train, planted(60, 1), torch.device("cpu"))


@pytest.mark.slow
def test_a_planted_pattern_is_found() -> None:
    made = training(planted(80, 0), steps=150)
    found = train_fingerprint(made)
    assert found.look.auroc > 0.95
    assert found.look.auroc == max(look.auroc for look in made.looks)
    correlation = np.corrcoef(found.pattern.numpy().ravel(), np.broadcast_to(CHECKER, (3, SIDE, SIDE)).ravel())[0, 1]
    assert abs(correlation) > 0.1
    assert np.sign(correlation) == np.sign(found.mu_fake - found.mu_real)


def test_it_ends_when_no_look_is_better() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (2, 8, 3, SIDE, SIDE))
    made = training(Classes(*map(stored, noise)), base=2, batch=4, steps=1000, patience=1)
    best = train_fingerprint(made)
    assert made.step < 1000
    assert made.looks[-1].auroc <= best.look.auroc == max(look.auroc for look in made.looks)


def test_what_is_no_number_ends_it() -> None:
    with pytest.raises(DivergedError, match=r"after 25 steps: expected numbers, got nan\. Lower lr"):
        train_fingerprint(training(planted(4, 0), base=2, batch=4, steps=25, lr=float("1e30")))


def bank(**changes: object) -> Bank:
    values: dict[str, object] = {
        "names": ("a", "b"),
        "fingerprints": np.ones((2, 3, 8, 8), np.float32),
        "mu_real": np.zeros(2, np.float32),
        "mu_fake": np.ones(2, np.float32),
    }
    return Bank(**(values | changes))  # type: ignore[arg-type]


def test_a_bank_comes_back(tmp_path: Path) -> None:
    bank().save(tmp_path / "bank.npz")
    again = Bank.load(tmp_path / "bank.npz")
    assert again.names == ("a", "b")
    np.testing.assert_array_equal(again.fingerprints, bank().fingerprints)


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("a",)},
        {"names": ("a", "a")},
        {"fingerprints": np.ones((2, 8, 8), np.float32)},
        {"fingerprints": np.ones((2, 3, 8, 8))},
        {"mu_real": np.array([0, np.nan], np.float32)},
        {"mu_fake": np.ones(3, np.float32)},
    ],
)
def test_a_malformed_bank_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="bank"):
        bank(**changes)


def test_a_file_that_is_no_bank_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "object.npz", names=np.array([{"a": 1}], object))
    for name in ("text.npz", "object.npz", "none.npz"):
        with pytest.raises(CheckpointError, match="a bank of fingerprints"):
            Bank.load(tmp_path / name)
