"""Which preprocessing a model wants, from its answers under each candidate. Pure functions over answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.images.preprocess import Preprocess
from harness.probe.learned import Learned, tell_apart
from harness.probe.metadata import ImageInput, Layout

Answers = NDArray[np.floating]
"""Scores (views, images, scores): every image and its small changes, in the same order."""

VALUES: dict[str, Preprocess] = {
    "0..1": Preprocess(dtype="float32"),
    "ImageNet mean and std": Preprocess(dtype="float32", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "-1..1": Preprocess(dtype="float32", range=(-1.0, 1.0)),
    "0..255": Preprocess(dtype="float32", range=(0.0, 255.0)),
}
"""Conventions of float values, the usual one first."""

SIDES = (224, 256, 299, 384, 192, 160, 128, 96, 64, 32)
"""Sides that are tried where the shape is free, the usual ones first."""

LOUD = 100.0
"""Distance of the highest score from the middle one beyond which an answer is one to values of another scale."""


def candidates(taken: ImageInput, layouts: Iterable[Layout], side: int) -> dict[tuple[Layout, str], Preprocess]:
    """Return what may be meant, by layout and convention of values."""
    conventions = {"pixels": Preprocess()} if taken.dtype == "uint8" else VALUES
    return {
        (layout, name): values.model_copy(update={"layout": layout, "resize": side, "crop": side})
        for layout in layouts
        for name, values in conventions.items()
    }


def information(answers: Answers) -> float:
    """Return the mutual information between photograph and decision, in nats, at least 0.

    ``H(mean over images of p) - mean over images of H(p)``, ``p`` being the shares of an image's views that are decided
    each way. It is high where decisions differ between photographs and survive small changes of each: what a model does
    on the input that it was trained for. Answers so loud that the values must be of another scale count as 0.

    Args:
        answers: scores (views, images, scores); one score decides by its sign, or around 0.5 where it is a probability.
    """
    values = np.asarray(answers, np.float64)
    if not np.isfinite(values).all():
        return 0.0
    if values.shape[-1] == 1:
        within = bool(((values >= 0) & (values <= 1)).all())
        decided = (values[..., 0] > (0.5 if within else 0.0)).astype(np.intp)
        loud = float(np.median(np.abs(values)))
    else:
        decided = values.argmax(axis=-1)
        loud = float(np.median(values.max(axis=-1) - np.median(values, axis=-1)))
    if loud > LOUD:
        return 0.0
    shares = np.eye(int(decided.max()) + 1)[decided].mean(axis=0)
    return max(0.0, float(_entropy(shares.mean(axis=0)) - _entropy(shares).mean()))


def conclude_preprocessing(
    answers: Mapping[tuple[Layout, str], Answers], asked: Mapping[tuple[Layout, str], Preprocess]
) -> tuple[Preprocess, Learned, Learned]:
    """Return the preprocessing that is meant, and what was learned of layout and values.

    Args:
        answers: of the candidates that were taken, at least one.
        asked: the candidates.
    """
    told = {key: information(values) for key, values in answers.items()}
    values = tell_apart(_best(told, 1))
    layout = tell_apart(_best({key: nats for key, nats in told.items() if key[1] == values.value}, 0))
    chosen = next(key for key in told if key == (layout.value, values.value))
    return asked[chosen], layout, values


def _best(told: Mapping[tuple[Layout, str], float], part: int) -> dict[str, float]:
    """Return the highest information by layout (part 0) or by values (part 1)."""
    found: dict[str, float] = {}
    for key, nats in told.items():
        found[key[part]] = max(nats, found.get(key[part], 0.0))
    return found


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.asarray(-(shares * logs).sum(axis=-1))
