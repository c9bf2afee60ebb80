from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from export.aligned import Aligned
from export.fingerprints import DifBank, aligned
from export.onnx import write_onnx
from harness.backends.ort import open_session
from harness.errors import CheckpointError
from harness.fingerprints.bank import Bank
from tests.unit.export.conftest import SIDE, make_bank, make_card, make_filter

REACH = 3


def images(count: int = 4, seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def scores(bank: Bank, pixels: NDArray[np.uint8], residual: nn.Module | None = None) -> NDArray[np.float32]:
    with torch.no_grad():
        return DifBank(residual or nn.Identity(), bank)(torch.from_numpy(pixels)).numpy()


@given(height=st.integers(3, 9), width=st.integers(3, 9), reach=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
def test_it_is_the_largest_of_all_rolled_correlations(height: int, width: int, reach: int, seed: int) -> None:
    reach = min(reach, (min(height, width) - 1) // 2)
    random = np.random.default_rng(seed)
    templates, planes = random.normal(size=(2, 3, height, width)), random.normal(size=(3, 3, height, width))
    steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    rolled = np.stack([np.roll(planes, step, (2, 3)) for step in steps])
    expected = np.einsum("snchw,kchw->snk", rolled, templates).max(axis=0)
    found = Aligned(torch.from_numpy(templates), reach)(torch.from_numpy(planes).float()).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_score_is_pearsons_largest_oriented_and_centred() -> None:
    bank, pixels = replace(make_bank(), reach=REACH), images()
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float64)
    expected = np.empty((len(pixels), 3))
    for k, fingerprint in enumerate(bank.fingerprints):
        sign, middle = float(bank.signs[k]), (float(bank.mu_real[k]) + float(bank.mu_fake[k])) / 2
        for i, plane in enumerate(planes):
            rho = [
                np.corrcoef(np.roll(plane, (dy, dx), (1, 2)).ravel(), fingerprint.ravel())[0, 1]
                for dy in range(-REACH, REACH + 1)
                for dx in range(-REACH, REACH + 1)
            ]
            expected[i, k] = sign * (max(rho, key=lambda value: sign * value) - middle)
    np.testing.assert_allclose(scores(bank, pixels), expected, atol=1e-6)


def test_without_reach_it_is_the_plain_product() -> None:
    templates, planes = torch.randn(4, 3, 10, 12), torch.randn(5, 3, 10, 12)
    expected = planes.flatten(1) @ templates.flatten(1).T
    torch.testing.assert_close(Aligned(templates, 0)(planes), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [(0, 1), (-1, 0), (REACH, -REACH), (-2, -REACH)])
def test_a_cyclic_shift_within_reach_changes_nothing(step: tuple[int, int]) -> None:
    bank, pixels = replace(make_bank(), reach=REACH), images()
    trace = np.clip(128 + 40 * bank.fingerprints.transpose(0, 2, 3, 1), 0, 255).astype(np.uint8)
    found, moved = scores(bank, trace), scores(bank, np.roll(trace, step, (1, 2)))
    own = bank.signs > 0
    np.testing.assert_allclose(np.diag(moved)[own], np.diag(found)[own], atol=1e-6)
    assert (
        np.diag(scores(replace(bank, reach=0), np.roll(trace, step, (1, 2))))[own] < 0.5 * np.diag(found)[own]
    ).all()
    assert (scores(bank, pixels) >= scores(replace(bank, reach=0), pixels) - 1e-6).all(), "the largest of many"


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_constant_image_has_correlation_zero(grey: int) -> None:
    bank = replace(make_bank(), reach=REACH)
    found = scores(bank, np.full((2, SIDE, SIDE, 3), grey, np.uint8))
    middle = -(bank.mu_real + bank.mu_fake) / 2 * bank.signs
    np.testing.assert_allclose(found, [middle, middle], atol=1e-5)


def test_the_graph_answers_as_the_module_does(tmp_path: Path) -> None:
    bank = replace(make_bank(), reach=REACH)
    module, model = DifBank(make_filter().folded(), bank), tmp_path / "model.onnx"
    write_onnx(module, torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), model, make_card(bank))
    (found,) = open_session(model).run(None, {"image": images(5)})
    np.testing.assert_allclose(found, scores(bank, images(5), make_filter().folded()), atol=1e-6)


def test_centres_are_found_again_over_shifts() -> None:
    """Reals correlate with nothing, and still their largest correlation lies above 0."""
    plain = make_bank()
    trace = np.clip(128 + 40 * (plain.signs[:, None, None, None] * plain.fingerprints), 0, 255)
    fakes = trace.astype(np.uint8).transpose(0, 2, 3, 1)
    batches: dict[str, list[Tensor]] = {
        name: [torch.from_numpy(np.roll(fake, step, (0, 1))[None]) for step in ((0, 0), (1, 2))]
        for name, fake in zip(plain.names, fakes, strict=True)
    }
    found = aligned(plain, nn.Identity(), {"nature": [torch.from_numpy(images(8))], **batches}, REACH)
    assert found.reach == REACH
    np.testing.assert_array_equal(found.signs, plain.signs)
    assert (plain.signs * found.mu_real > 0).all()
    assert (plain.signs * found.mu_fake > 0.7).all()
    assert (np.diag(scores(found, np.roll(fakes, (2, -1), (1, 2)))) > 0).all()
    assert (scores(found, images(4, seed=1)) < 0).all()


def test_a_fingerprint_that_points_the_other_way_over_shifts_is_refused() -> None:
    plain = make_bank()
    nature = {"nature": [torch.from_numpy(images(2))]}
    grey = torch.full((1, SIDE, SIDE, 3), 128, dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=f"fingerprint gan over shifts of {REACH}"):
        aligned(plain, nn.Identity(), {**nature, **{name: [grey] for name in plain.names}}, REACH)
