"""Embedders: what they learn, what ships, and which weights they take."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.embedders import DIMENSIONS, EMBEDDERS, WEIGHTS, barlow_twins, resnet50
from export.training.embedders import SIDE, barlow_loss, train_barlow_twins, train_supervised, view
from harness.errors import CheckpointError


def crops(count: int = 24, side: int = 24) -> np.ndarray:
    """Pictures of two kinds: smooth ones, and noise."""
    random = np.random.default_rng(0)
    fine = random.integers(0, 256, (count // 2, side, side, 3), np.uint8)
    smooth = np.broadcast_to(random.integers(40, 200, (count // 2, 1, 1, 3), np.uint8), fine.shape)
    return np.concatenate([fine, smooth])


def test_barlow_twins_loss_is_the_papers() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 40, 6))
    second += first
    a, b = ((item - item.mean(axis=0)) / item.std(axis=0) for item in (first, second))
    c = a.T @ b / len(a)
    own = ((1 - np.diag(c)) ** 2).sum()
    others = (c[~np.eye(6, dtype=bool)] ** 2).sum()
    found = barlow_loss(torch.from_numpy(first), torch.from_numpy(second), 0.005)
    assert float(found) == pytest.approx(own + 0.005 * others, rel=1e-9)


def test_views_are_parts_in_other_colours_and_follow_from_the_seed() -> None:
    pixels = torch.rand(5, 3, SIDE + 8, SIDE + 20, generator=torch.Generator().manual_seed(0))
    one, same, other = (view(pixels, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert one.shape == (5, 3, SIDE, SIDE)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert view(pixels[:, :, :16, :16], torch.Generator()).shape == (5, 3, 16, 16)


def test_labels_are_learned_the_same_for_one_seed() -> None:
    pixels, labels = crops(), ["fine"] * 12 + ["smooth"] * 12
    losses: list[float] = []
    network = train_supervised(pixels, labels, steps=12, seed=0, report=lambda step, loss: losses.append(loss))
    again = train_supervised(pixels, labels, steps=12, seed=0)
    assert losses[-1] < 0.4 < np.log(2)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    with torch.no_grad():
        assert network(torch.from_numpy(pixels)).shape == (24, DIMENSIONS)


def test_barlow_twins_lowers_its_loss() -> None:
    losses: list[float] = []
    train_barlow_twins(crops(), steps=26, seed=0, report=lambda step, loss: losses.append(loss))
    assert losses[-1] < 200, "256 dimensions start at about one each"


@pytest.mark.parametrize("name", ["embedder.mini_sl", "embedder.mini_ssl"])
def test_what_ships_is_small_and_tells_photographs_apart(name: str) -> None:
    assert (WEIGHTS / f"{name.replace('.', '_')}.pt").stat().st_size < 500_000
    built = EMBEDDERS[name].build()
    assert (built.card.task, built.card.outputs, built.card.name) == ("embedding", DIMENSIONS, name)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), np.uint8)
    with torch.no_grad():
        answers = built.module(torch.from_numpy(pixels))
    assert answers.shape == (3, DIMENSIONS)
    assert torch.isfinite(answers).all()
    assert float(answers.std()) > 0.01


def test_published_networks_take_weights_with_or_without_a_head(tmp_path: Path) -> None:
    seeded = resnet50("seeded:3")
    assert (seeded.card.dimensions, seeded.card.preprocess.crop) == (2048, 224)
    body = seeded.module.get_submodule("body")
    torch.save(body.state_dict(), tmp_path / "backbone.pt")
    loaded = barlow_twins(str(tmp_path / "backbone.pt"))
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        answers = seeded.module(image)
        assert answers.shape == (1, 2048)
        torch.testing.assert_close(loaded.module(image), answers)
    assert "sha256" in str(loaded.card.training["weights"])


def test_weights_that_are_not_an_embedders_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "part.pt")
    for name, words in (("list.pt", "expected a state dict of tensors"), ("part.pt", "expected all of the network's")):
        with pytest.raises(CheckpointError, match=words):
            barlow_twins(str(tmp_path / name))
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        barlow_twins(str(tmp_path / "none.pt"))
