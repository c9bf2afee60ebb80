"""From image files to training batches: read, take a part, mirror. Chance follows from seed and place alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from export.training.jobs import Images
from export.training.recipe import Recipe
from harness.errors import ImageError
from harness.images import decode
from harness.images.preprocess import FILTERS, Image, Preprocess, centre_crop, preprocess, resize_shorter

KEPT_BYTES = 1 << 29
"""Data sets up to this size, decoded, are held in memory."""

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of what ``take: resized`` cuts out."""

Place = tuple[int, int]
"""An image's position, and its number among all images drawn so far: what is done to it is drawn from the latter."""


AT_MOST = "-mmax9"
"""Of RandAugment's magnitudes: at 10, posterising would keep no bit of an image."""

Batch = tuple[Tensor, Tensor]
"""Images, uint8 (views, N, 3, S, S), and labels, float32 (N,)."""


class Decoded:
    """Images as pixels; small sets are held in memory. One that can't be decoded is replaced by the next of its class.

    Args:
        images: which.
    """

    def __init__(self, images: Images) -> None:
        self.images, self.labels = images, images.labels
        self.kept: dict[int, Image] | None = {} if decoded_bytes(images) <= KEPT_BYTES else None

    def __getitem__(self, position: int) -> Image:
        """Return uint8 RGB, (height, width, 3).

        Raises:
            ImageError: no image of its class can be decoded.
        """
        for step in range(len(self.images)):
            place = (position + step) % len(self.images)
            if self.labels[place] == self.labels[position]:
                with suppress(ImageError):
                    return self._decoded(place)
        return self._decoded(position)

    def _decoded(self, position: int) -> Image:
        if self.kept is None:
            return decode(self.images.data.read(self.images[position]))
        if position not in self.kept:
            self.kept[position] = decode(self.images.data.read(self.images[position]))
        return self.kept[position]


class Tested(Dataset[Tensor]):
    """Validation images, as a suite would show them.

    Args:
        images: which.
        spec: the card's preprocessing.
    """

    def __init__(self, images: Images, spec: Preprocess) -> None:
        self.decoded, self.spec = Decoded(images), spec.pixels

    def __len__(self) -> int:
        return len(self.decoded.images)

    def __getitem__(self, position: int) -> Tensor:
        """Return uint8 (3, S, S)."""
        pixels = preprocess(self.decoded[position], self.spec)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


class Shown(Dataset[tuple[Tensor, float]]):
    """Training images, as a recipe shows them.

    Args:
        images: which.
        recipe: how they are taken.
        spec: the card's preprocessing.
        seed: of what is drawn.
    """

    def __init__(self, images: Images, recipe: Recipe, spec: Preprocess, seed: int) -> None:
        self.decoded, self.recipe, self.seed = Decoded(images), recipe, seed
        self.spec = spec.pixels
        self.augment = rand_augment_transform(recipe.rand_augment + AT_MOST, {}) if recipe.rand_augment else None

    def __len__(self) -> int:
        return len(self.decoded.images)

    def __getitem__(self, place: Place) -> tuple[Tensor, float]:
        """Return uint8 views (V, 3, S, S) and the label."""
        position, number = place
        drawn = np.random.default_rng((self.seed, number))
        taken = take(self.decoded[position], self.recipe, self.spec, drawn)
        clean = [taken] if self.recipe.views > 1 else []
        views = clean + [self._augmented(taken, drawn) for _ in range(max(1, self.recipe.views - 1))]
        stacked = np.ascontiguousarray(np.stack(views).transpose(0, 3, 1, 2))
        return torch.from_numpy(stacked), float(self.decoded.labels[position])

    def _augmented(self, image: Image, drawn: np.random.Generator) -> Image:
        if self.augment is None:
            return image
        seed = int(drawn.integers(2**32))
        random.seed(seed)
        np.random.seed(seed)
        return np.asarray(self.augment(PILImage.fromarray(image)))


def take(image: Image, recipe: Recipe, spec: Preprocess, drawn: np.random.Generator) -> Image:
    """Return the part of an image that is trained on, uint8 (S, S, 3).

    Args:
        image: uint8 RGB.
        recipe: says which part, and whether it is mirrored.
        spec: resizing and cropping of a tested image.
        drawn: what chance decides.
    """
    if recipe.sides:
        image = resize_shorter(image, int(drawn.integers(recipe.sides[0], recipe.sides[1] + 1)), spec.filter)
    side = recipe.side or spec.crop
    if recipe.take == "resized" and side:
        image = _area(image, side, spec.filter, drawn)
    elif recipe.take == "random" and side:
        image = resize_shorter(image, spec.resize, spec.filter)
        height, width = image.shape[:2]
        top, left = (int(drawn.integers(0, max(0, length - side) + 1)) for length in (height, width))
        image = centre_crop(image[top : top + side, left : left + side], side)
    else:
        image = np.asarray(preprocess(image, spec), np.uint8)
    return image[:, ::-1] if drawn.random() < recipe.flip else image


def _area(image: Image, side: int, filter: str, drawn: np.random.Generator) -> Image:
    """Cut a random area and resize it to a square; the whole image's centre where none of ten fits."""
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * drawn.uniform(*AREA)
        aspect = np.exp(drawn.uniform(*np.log(ASPECT)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(drawn.integers(0, height - h + 1)), int(drawn.integers(0, width - w + 1))
            break
    else:
        w = h = min(height, width)
        top, left = (height - h) // 2, (width - w) // 2
    cut = PILImage.fromarray(image[top : top + h, left : left + w])
    return np.asarray(cut.resize((side, side), FILTERS[filter]))


class Order(Sampler[list[Place]]):
    """Batches of places: half real, half fake, each class shuffled anew when it is used up; the same for one seed.

    Args:
        labels: of the images.
        batch: images a batch of one process.
        seed: of the shuffling.
        first, last: numbers of the first batch and of the one after the last.
        rank, world: this process, and how many there are; together they take consecutive batches' images.
    """

    def __init__(
        self, labels: list[int], batch: int, seed: int, first: int, last: int, rank: int = 0, world: int = 1
    ) -> None:
        self.classes = [np.flatnonzero(np.asarray(labels) == label) for label in (0, 1)]
        self.batch, self.seed, self.first, self.last = batch, seed, first, last
        self.rank, self.world = rank, world
        self.laps: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[Place]]:
        for number in range(self.first, self.last):
            start = (number * self.world + self.rank) * self.batch
            yield [self._place(start + offset) for offset in range(self.batch)]

    def _place(self, number: int) -> Place:
        label = number % 2
        lap, index = divmod(number // 2, len(self.classes[label]))
        if label not in self.laps or self.laps[label][0] != lap:
            shuffled = np.random.default_rng((self.seed, lap, label)).permutation(self.classes[label])
            self.laps[label] = lap, shuffled
        return int(self.laps[label][1][index]), number


def batches(shown: Shown, order: Order, workers: int, pin: bool) -> Iterator[Batch]:
    """Yield batches in order, read ahead by worker processes."""
    loader: DataLoader[tuple[Tensor, float]] = DataLoader(
        shown, batch_sampler=order, num_workers=workers, pin_memory=pin, collate_fn=_collate
    )
    yield from loader


def _collate(items: list[tuple[Tensor, float]]) -> Batch:
    views = torch.stack([item[0] for item in items], dim=1)
    return views, torch.tensor([item[1] for item in items])


def decoded_bytes(images: Images) -> int:
    """Return the size of all images, decoded."""
    widths, heights = (images.rows[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    return int((widths * heights).sum()) * 3
