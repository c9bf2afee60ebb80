"""Figures of detection made up by hand, for tests of what is computed and laid out from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.card import Head
from harness.spec.tasks import DetectionTask
from harness.stats import Estimate, bootstrap_interval
from harness.tasks.answers import Outcomes
from harness.tasks.detection import Detection, Detector, Figures

IMAGES = 100
DRAWS = 50


@dataclass(frozen=True)
class Made:
    """A detector: its model, what it was trained on, and one figure a tested generator, or a condition and one."""

    model: str
    trained_on: tuple[str, ...]
    values: Mapping[str | tuple[str, str], float]
    head: str = "fake"
    name: str = field(default="")


def detection(made: Sequence[Made], **task: object) -> Detection:
    """Return the detectors' figures: AUROC as given, balanced accuracy a tenth below it; paired resamples."""
    detectors = []
    for item in made:
        where = {key if isinstance(key, tuple) else ("none", key): value for key, value in item.values.items()}
        several = sum(other.model == item.model for other in made) > 1
        detectors.append(
            Detector(
                item.name or (f"{item.model}/{item.head}" if several else item.model),
                item.model,
                Head(name=item.head, trained_on=item.trained_on),
                0.5,
                {
                    (condition, generator): _figures(condition, generator, generator in item.trained_on, value)
                    for (condition, generator), value in where.items()
                },
            )
        )
    generators = list(dict.fromkeys(name for item in detectors for _, name in item.figures))
    conditions = list(dict.fromkeys(["none", *(name for item in detectors for name, _ in item.figures)]))
    spec = DetectionTask.model_validate(
        {"data": "d", "name": "toy", "degradations": [item for item in conditions if "harmonise" not in item], **task}
    )
    return Detection(spec, generators, conditions, detectors, IMAGES * len(generators))


def crossed(model: str, table: Mapping[str, Mapping[str, float]]) -> list[Made]:
    """Return one detector, ``MODEL.TRAINED_ON``, a row of a cross matrix."""
    return [Made(f"{model}.{name}", (name,), row) for name, row in table.items()]


def _figures(condition: str, generator: str, in_domain: bool, auroc: float) -> Figures:
    noise = np.random.default_rng(len(condition + generator)).normal(0, 0.01, DRAWS)
    values = {"auroc": auroc, "balanced_accuracy": auroc - 0.1}
    draws = {name: value + noise for name, value in values.items()}
    estimates = {name: Estimate.of(value, bootstrap_interval(draws[name]), IMAGES) for name, value in values.items()}
    rates = {name: Estimate.of_rate(round(0.8 * IMAGES), IMAGES) for name in ("real_accuracy", "fake_accuracy")}
    ids = np.arange(IMAGES).astype(np.uint64)
    right = Outcomes(ids, ids < auroc * IMAGES)
    half = IMAGES // 2
    return Figures(generator, condition, in_domain, half, half, {}, estimates | rates, draws, right)
