from pathlib import Path

import numpy as np
import pytest
import torch

from export.bank import Bank
from export.training.dif import UNet, correlate, normalise, pair_loss, train_bank
from harness.errors import CheckpointError

SIDE = 32


def test_correlations_are_pearsons() -> None:
    random = np.random.default_rng(0)
    residuals, fingerprint = random.normal(1, 2, (5, 3, 8, 8)), random.normal(3, 1, (3, 8, 8))
    found = correlate(torch.from_numpy(fingerprint).float(), normalise(residuals))
    wanted = [np.corrcoef(item.ravel(), fingerprint.ravel())[0, 1] for item in residuals]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_flat_residual_correlates_with_nothing() -> None:
    assert float(correlate(torch.rand(3, 4, 4), normalise(np.ones((1, 3, 4, 4))))) == 0


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


@pytest.mark.slow
def test_a_planted_pattern_is_found() -> None:
    random = np.random.default_rng(0)
    row = np.where(np.arange(SIDE) % 2, 1.0, -1.0)
    pattern = np.broadcast_to(row[None, None] * row[None, :, None], (3, SIDE, SIDE))

    def drawn(count: int, strength: float) -> torch.Tensor:
        return normalise(random.normal(0, 1, (count, 3, SIDE, SIDE)) + strength * pattern)

    train = {"nature": drawn(80, 0), "checker": drawn(80, 0.3)}
    held = {"nature": drawn(60, 0), "checker": drawn(60, 0.3)}
    bank, trained = train_bank(train, held, ("checker",), (SIDE, SIDE), steps=150, seed=0, base=8, batch=32)
    assert trained["checker"].validation_auroc > 0.95
    assert bank.names == ("checker",)
    assert bank.fingerprints.shape == (1, 3, SIDE, SIDE)
    found = np.corrcoef(bank.fingerprints[0].ravel(), pattern.ravel())[0, 1]
    assert abs(found) > 0.1
    assert np.sign(found) == np.sign(bank.mu_fake[0] - bank.mu_real[0])


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
