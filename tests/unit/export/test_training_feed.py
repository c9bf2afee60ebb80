"""What a training step sees, and that it depends on nothing but seed and place."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.training.feed import Order, Shown, batches, take
from export.training.jobs import Images, choose
from export.training.recipe import Recipe
from export.training.spec import DetectorSpec
from harness.images.preprocess import Preprocess, preprocess
from tests.unit.export.training_data import SIDE, opened, write_pictures

RECIPE = Recipe(epochs=1, batch=4, lr=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    root = write_pictures(tmp_path_factory.mktemp("feed") / "pictures", {"train": 5})
    spec = DetectorSpec.model_validate({"data": "d", "validation": {"share": 0.2}})
    return choose(spec, opened(root), ("board", "lines"), 0)[0]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_batches_are_half_fake_and_laps_see_every_image_once(images: Images) -> None:
    labels = images.labels
    order = list(Order(labels, 4, seed=0, first=0, last=40))
    assert all(sum(labels[place] for place, _ in batch) == 2 for batch in order)
    fakes = [place for batch in order for place, _ in batch if labels[place]]
    lap = sum(labels)
    assert sorted(fakes[:lap]) == sorted(fakes[lap : 2 * lap]) == [p for p, label in enumerate(labels) if label]
    assert fakes[:lap] != fakes[lap : 2 * lap]


def test_an_order_taken_up_in_the_middle_goes_on_as_it_would_have(images: Images) -> None:
    whole = list(Order(images.labels, 4, seed=3, first=0, last=12))
    assert list(Order(images.labels, 4, seed=3, first=7, last=12)) == whole[7:]


def test_two_processes_share_what_one_would_have_seen(images: Images) -> None:
    whole = list(Order(images.labels, 8, seed=3, first=0, last=6))
    parts = [list(Order(images.labels, 4, 3, 0, 6, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_change_nothing(images: Images, workers: int) -> None:
    recipe = RECIPE.model_copy(update={"rand_augment": "rand-m9-mstd0.5-inc1"})
    shown = [Shown(images, recipe, Preprocess(crop=SIDE), 1) for _ in range(2)]
    order = Order(images.labels, 4, seed=1, first=0, last=6)
    one = list(batches(shown[0], order, 0, pin=False))
    other = list(batches(shown[1], order, workers, pin=False))
    for (a, x), (b, y) in zip(one, other, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)
        assert a.shape == (1, 4, 3, SIDE, SIDE)
        assert a.dtype == torch.uint8


def test_the_first_of_several_views_is_clean(images: Images) -> None:
    recipe = RECIPE.model_copy(update={"rand_augment": "rand-m9-n3", "views": 3, "flip": 0, "take": "centre"})
    shown = Shown(images, recipe, Preprocess(crop=SIDE), 1)
    views, _ = shown[0, 0]
    assert views.shape == (3, 3, SIDE, SIDE)
    assert np.array_equal(views[0].permute(1, 2, 0).numpy(), shown.decoded._decoded(0))
    assert not torch.equal(views[1], views[2])


def test_a_centre_is_what_a_tested_image_gives() -> None:
    spec = Preprocess(resize=20, crop=16)
    recipe = RECIPE.model_copy(update={"take": "centre", "flip": 0})
    image = picture(30, 41)
    assert np.array_equal(take(image, recipe, spec, drawn()), preprocess(image, spec))
    mirrored = take(image, recipe.model_copy(update={"flip": 1}), spec, drawn())
    assert np.array_equal(mirrored[:, ::-1], preprocess(image, spec))


def test_random_crops_are_parts_of_the_image() -> None:
    image = picture(20, 26)
    recipe = RECIPE.model_copy(update={"take": "random", "flip": 0})
    found = {take(image, recipe, Preprocess(crop=16), drawn(seed)).tobytes() for seed in range(200)}
    parts = {image[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(11)}
    assert found <= parts
    assert len(found) > 40
    small = take(picture(9, 12), recipe, Preprocess(crop=16), drawn())
    assert small.shape == (16, 16, 3)


@pytest.mark.parametrize("size", [(40, 60), (16, 16), (9, 100)])
def test_areas_have_the_inputs_size(size: tuple[int, int]) -> None:
    recipe = RECIPE.model_copy(update={"take": "resized"})
    for seed in range(20):
        assert take(picture(*size), recipe, Preprocess(crop=16), drawn(seed)).shape == (16, 16, 3)


def test_sides_shrink_before_anything_else() -> None:
    recipe = RECIPE.model_copy(update={"sides": (8, 8), "take": "centre", "flip": 0})
    image = picture(64, 64)
    made = take(image, recipe, Preprocess(resize=32, crop=32), drawn())
    plain = preprocess(image, Preprocess(resize=32, crop=32))
    assert made.shape == plain.shape
    assert np.abs(np.diff(made.astype(int), axis=0)).mean() < np.abs(np.diff(plain.astype(int), axis=0)).mean() / 2


def test_an_image_that_cannot_be_read_is_replaced_by_one_of_its_class(images: Images, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "p", {"train": 3, "val": 1})
    (root / "train/board/fake/1.png").write_bytes(b"no picture")
    spec = DetectorSpec.model_validate({"data": "d"})
    broken = choose(spec, opened(root), ("board",), 0)[0]
    shown = Shown(broken, RECIPE.model_copy(update={"take": "centre", "flip": 0}), Preprocess(crop=SIDE), 0)
    place = next(p for p in range(len(broken)) if broken[p].path.endswith("fake/1.png"))
    views, label = shown[place, 0]
    assert label == 1
    assert any(
        np.array_equal(views[0].permute(1, 2, 0).numpy(), shown.decoded._decoded(p))
        for p in range(len(broken))
        if p != place and broken.labels[p]
    )
