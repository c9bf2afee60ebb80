"""A training: what it learns, when it stops, and that being cut off changes nothing."""

import math
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from export.training.jobs import Job, choose
from export.training.loop import Fitted, Progress, fit, rate_at
from export.training.objective import Objective, split_norms, without_splits
from export.training.recipe import Recipe
from export.training.spec import DetectorSpec
from harness.errors import CheckpointError, DivergedError
from tests.unit.export.training_data import TINY, opened, write_pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("loop") / "pictures", {"train": 24})


def job(root: Path, seed: int = 0, freeze: tuple[str, ...] = (), **recipe: object) -> Job:
    spec = DetectorSpec.model_validate({"data": "d", "validation": {"share": 0.3}, "freeze": freeze, "recipe": recipe})
    train, validation = choose(spec, opened(root), ("board",), seed)
    said = Recipe.model_validate({**TINY.recipes["full"].model_dump(), **recipe})
    return Job("tiny.board", TINY, spec, seed, ("board",), said, train, validation, "key")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return TINY.build("full", False)


def fitted(job: Job, path: Path, **more: object) -> Fitted:
    """Train by a clock that every look at it lets tick."""
    clock = map(float, count()).__next__
    return fit(job, network(), Fabric(accelerator="cpu"), path, workers=0, clock=clock, **more)  # type: ignore[arg-type]


def same(a: Fitted, b: Fitted) -> bool:
    return a.weights.keys() == b.weights.keys() and all(
        torch.equal(a.weights[key], b.weights[key]) for key in a.weights
    )


class Cut(Exception):
    """The process is gone."""


def cut_at(step: int) -> object:
    def report(progress: Progress, steps: int) -> None:
        if progress.step == step:
            raise Cut

    return report


def test_it_learns_what_tells_the_classes_apart(root: Path, tmp_path: Path) -> None:
    found = fitted(job(root, epochs=30), tmp_path / "c.pt")
    assert found.best.auroc == 1.0
    assert found.looks[-1].loss < found.looks[0].loss / 2
    assert found.balanced_accuracy == 1.0
    assert 0 <= found.waited < 1


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"ema": 0.9},
        {"optimiser": "sgd", "mixup": 0.4, "cutmix": 1.0, "smoothing": 0.1},
        {"views": 3, "rand_augment": "rand-m9-mstd0.5-inc1", "erase": 0.6},
        {"augment": ["blur_jpeg p=0.5"], "schedule": "plateau", "patience": 1},
    ],
    ids=["plain", "ema", "mixed", "views", "plateau"],
)
def test_cut_off_and_taken_up_ends_as_undisturbed(root: Path, tmp_path: Path, recipe: dict[str, object]) -> None:
    whole = fitted(job(root, **recipe), tmp_path / "whole.pt")
    path = tmp_path / "cut.pt"
    with pytest.raises(Cut):
        fitted(job(root, **recipe), path, every_minutes=0, report=cut_at(8))
    assert path.is_file()
    again = fitted(job(root, **recipe), path)
    assert same(whole, again)
    assert whole.looks == again.looks
    assert again.seconds == pytest.approx(whole.seconds, rel=0.2)
    assert again.waited == pytest.approx(whole.waited, rel=0.2)


def test_seeds_differ(root: Path, tmp_path: Path) -> None:
    one, other = (fitted(job(root, seed=seed), tmp_path / f"{seed}.pt") for seed in (0, 1))
    assert not same(one, other)


def test_the_best_look_is_kept_and_patience_ends_it(root: Path, tmp_path: Path) -> None:
    found = fitted(job(root, epochs=60, patience=2, lr=1.0, schedule="constant"), tmp_path / "c.pt")
    ranked = max(found.looks, key=lambda look: (look.auroc, -look.validation_loss))
    assert found.best == ranked
    assert found.looks[-1].epoch - found.best.epoch == 2
    assert len(found.looks) < 60


def test_a_training_that_diverges_says_so_and_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"tiny\.board: answers after .* expected numbers, got nan\. Lower"):
        fitted(job(root, lr=1e30, optimiser="sgd", epochs=3), tmp_path / "c.pt")


def test_frozen_parameters_stay(root: Path, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in network().state_dict().items()}
    found = fitted(job(root, freeze=("first.0.*",)), tmp_path / "c.pt")
    for key, value in found.weights.items():
        assert torch.equal(value, before[key]) == key.startswith("first.0."), key


def test_a_batch_in_parts_gives_the_same_gradient(root: Path, tmp_path: Path) -> None:
    flat = {"flip": 0, "take": "centre", "epochs": 1}
    found = []
    for accumulate in (1, 4):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 1), nn.Flatten(0))
        found.append(
            fit(
                job(root, **flat),
                net,
                Fabric(accelerator="cpu"),
                tmp_path / f"{accumulate}.pt",
                workers=0,
                accumulate=accumulate,
            )
        )
    for key in found[0].weights:
        np.testing.assert_allclose(found[0].weights[key], found[1].weights[key], rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    torch.save({"network": {}}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="a checkpoint of this training"):
        fitted(job(root), tmp_path / "c.pt")


def test_rates() -> None:
    cosine = Recipe(epochs=10, lr=2.0, warmup=2)
    assert rate_at(cosine, 1, 0) == pytest.approx(1.0, rel=1e-2)
    assert rate_at(cosine, 2, 0) == pytest.approx(2.0)
    assert rate_at(cosine, 6, 0) == pytest.approx(1.0)
    assert rate_at(cosine, 10, 0) == pytest.approx(0.0, abs=1e-12)
    plateau = Recipe(epochs=10, lr=1.0, schedule="plateau")
    assert [rate_at(plateau, 3, cuts) for cuts in (0, 1, 2)] == pytest.approx([1, 0.1, 0.01])


def test_consistency_pulls_views_together() -> None:
    recipe = Recipe(epochs=1, lr=1, views=3)
    objective = Objective(recipe, torch.device("cpu"))
    images = torch.zeros(3, 4, 3, 8, 8, dtype=torch.uint8)
    labels = torch.tensor([0.0, 1, 0, 1])
    alike, apart = (
        objective(lambda x, logits=logits: logits, images, labels, torch.Generator())
        for logits in (torch.zeros(12), torch.cat([torch.zeros(4), 3 * torch.ones(4), -3 * torch.ones(4)]))
    )
    assert float(alike) == pytest.approx(math.log(2), rel=1e-3)
    assert float(apart) > float(alike) + 1


def test_views_have_norms_of_their_own_and_the_clean_ones_serve() -> None:
    plain, split = network(), network()
    split_norms(split, 3)
    state = split.state_dict()
    assert len(state) > len(plain.state_dict())
    assert without_splits(state).keys() == plain.state_dict().keys()
    batch = torch.rand(6, 3, 16, 16)
    split.eval()
    plain.eval()
    assert torch.equal(plain(batch), split(batch))
