from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from export.fingerprints import DifBank
from harness.errors import CheckpointError
from harness.fingerprints.bank import Bank
from harness.images.preprocess import Preprocess
from tests.unit.export.conftest import SIDE, make_bank, make_card


class Count(nn.Module):
    """Passes pixels through, less a constant, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x - 0.3


def images(count: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def scores(bank: Bank, pixels: NDArray[np.uint8], residual: nn.Module | None = None) -> NDArray[np.float32]:
    with torch.no_grad():
        return DifBank(residual or nn.Identity(), bank)(torch.from_numpy(pixels)).numpy()


def test_the_score_is_pearsons_correlation_oriented_and_centred() -> None:
    bank, pixels = make_bank(), images()
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    expected = np.empty((len(pixels), 3))
    for k, fingerprint in enumerate(bank.fingerprints):
        middle = (float(bank.mu_real[k]) + float(bank.mu_fake[k])) / 2
        sign = np.sign(float(bank.mu_fake[k]) - float(bank.mu_real[k]))
        rho = [np.corrcoef(plane, fingerprint.ravel())[0, 1] for plane in planes.astype(np.float64)]
        expected[:, k] = (np.array(rho) - middle) * sign
    np.testing.assert_allclose(scores(bank, pixels), expected, atol=1e-6)


def test_above_zero_is_nearer_to_the_centre_of_fakes() -> None:
    centres = np.array([0.02, -0.01, 0.3], np.float32), np.array([-0.02, 0.03, 0.1], np.float32)
    bank = Bank(("a", "b", "c"), make_bank().fingerprints, *centres)
    faint = 128 + np.round(3 * bank.fingerprints.transpose(0, 2, 3, 1))
    pixels = np.concatenate([images(), np.clip(faint, 0, 255).astype(np.uint8)])
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1).astype(np.float64)
    rho = np.corrcoef(planes, bank.fingerprints.reshape(3, -1))[: len(pixels), len(pixels) :]
    nearer = np.abs(rho - bank.mu_fake) < np.abs(rho - bank.mu_real)
    np.testing.assert_array_equal(scores(bank, pixels) > 0, nearer)
    assert nearer.any()
    assert not nearer.all()


@given(scale=st.floats(0.01, 100), shift=st.floats(-1, 1), mirrored=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_fingerprints_scale_shift_and_sign_do_not_matter(
    scale: float, shift: float, mirrored: bool, seed: int
) -> None:
    bank, sign = make_bank(seed=seed), -1 if mirrored else 1
    other = replace(
        bank,
        fingerprints=(sign * np.float32(scale) * bank.fingerprints + np.float32(shift)).astype(np.float32),
        mu_real=(sign * bank.mu_real).astype(np.float32),
        mu_fake=(sign * bank.mu_fake).astype(np.float32),
    )
    np.testing.assert_allclose(scores(bank, images()), scores(other, images()), atol=1e-5)


def test_one_pass_of_the_filter_serves_every_fingerprint() -> None:
    filter = Count()
    scores(make_bank(tuple(f"g{k}" for k in range(20))), images(), filter)
    assert filter.calls == 1


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_constant_image_has_correlation_zero(grey: int) -> None:
    bank = make_bank()
    found = scores(bank, np.full((2, SIDE, SIDE, 3), grey, np.uint8))
    middle = -(bank.mu_real + bank.mu_fake) / 2 * np.sign(bank.mu_fake - bank.mu_real)
    np.testing.assert_allclose(found, [middle, middle], atol=1e-6)


def test_rounding_in_a_residual_is_not_mistaken_for_a_trace() -> None:
    bank = make_bank()

    class Rounding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(bank.fingerprints[:1]).expand_as(x) * 1e-9

    found = scores(bank, images(), Rounding())
    middle = -(bank.mu_real + bank.mu_fake) / 2 * np.sign(bank.mu_fake - bank.mu_real)
    assert np.abs(found - middle).max() < 1e-3, "its correlation with the first fingerprint would be 1"


def test_each_image_is_scored_by_itself() -> None:
    bank, pixels = make_bank(), images(5)
    single = np.concatenate([scores(bank, pixel[None]) for pixel in pixels])
    np.testing.assert_allclose(scores(bank, pixels), single, atol=1e-7)


@pytest.mark.parametrize("fault", ["constant", "centres"])
def test_a_fingerprint_without_direction_is_refused(fault: str) -> None:
    bank = make_bank()
    if fault == "constant":
        bank.fingerprints[1] = 0.5
    else:
        bank.mu_fake[1] = bank.mu_real[1]
    with pytest.raises(CheckpointError, match="fingerprint flow"):
        DifBank(nn.Identity(), bank)


def test_the_card_names_a_head_for_each_fingerprint() -> None:
    card = make_card(make_bank())
    assert [(head.name, head.trained_on, head.threshold) for head in card.heads] == [
        (name, (name,), 0.0) for name in ("gan", "flow", "vq")
    ]
    assert card.preprocess == Preprocess(crop=SIDE, pad=False)
    assert (card.score, card.fake, card.task) == ("statistic", "high", "detection")


def test_only_squares_have_a_card() -> None:
    bank = make_bank()
    with pytest.raises(CheckpointError, match="squares"):
        make_card(replace(bank, fingerprints=bank.fingerprints[:, :, :-2]))
