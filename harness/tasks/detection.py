"""Task `detection`: from records to figures per (detector, generator, condition), their means and comparisons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arms import detector_names
from harness.card import Card, Head
from harness.data.sample import SubsetInfo, reals_for
from harness.images.degrade import CLEAN
from harness.metrics.binary import expected_calibration_error, ranking, rates
from harness.plan import Cell, conditions, tested_subsets
from harness.spec.tasks import DetectionTask
from harness.spec.thresholds import AtFprThreshold, CalibratedThreshold
from harness.stats import Estimate, bootstrap_interval
from harness.stats.bootstrap import bootstrap
from harness.store.cells import CellStore
from harness.tasks.answers import Answers, Floats, Outcomes, counted, join, read_answers
from harness.tasks.thresholds import choose

ABREAST = 4
"""Models whose figures are computed at once: the answers of so many are in memory."""

NO_OUTCOMES = Outcomes(np.zeros(0, np.uint64), np.zeros(0, bool))


@dataclass(frozen=True)
class Figures:
    """One detector on one generator under one condition.

    Attributes:
        generator, condition: which.
        in_domain: whether the detector was trained on this generator.
        reals, fakes: images that were answered.
        failures: failed records by reason.
        estimates: figures by name with 95 % intervals: Wilson for ``accuracy``, ``real_accuracy``, ``fake_accuracy``;
            bootstrap clustered by source image for ``balanced_accuracy``, ``auroc``, ``average_precision``,
            ``tpr_at_1pct_fpr``, ``tpr_at_5pct_fpr`` and, for probabilities, ``ece``; nan where a class is missing.
        draws: bootstrap values of the latter, float64 (resamples,), for means over generators.
        right: which images were decided rightly; for paired tests. Empty but under the clean condition.
    """

    generator: str
    condition: str
    in_domain: bool
    reals: int
    fakes: int
    failures: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    draws: Mapping[str, Floats]
    right: Outcomes


@dataclass(frozen=True)
class Mistake:
    """An image on the wrong side of the threshold.

    Attributes:
        sample: its path.
        generator: whose test it was in.
        label: what it is.
        score, threshold: oriented score, and where it was cut.
        margin: distance to the threshold in standard deviations of the detector's scores.
    """

    sample: str
    generator: str
    label: int
    score: float
    threshold: float
    margin: float


@dataclass(frozen=True)
class Detector:
    """One head of one model with all its figures.

    Attributes:
        name: ``MODEL`` or, where a model has several heads, ``MODEL/HEAD``.
        model: name in the suite.
        head: the head's card.
        threshold: where its oriented scores are cut.
        figures: by (condition, generator).
        mistakes: clean images, worst first.
    """

    name: str
    model: str
    head: Head
    threshold: float
    figures: Mapping[tuple[str, str], Figures]
    mistakes: Sequence[Mistake] = ()

    def mean(self, metric: str, condition: str, keep: Callable[[Figures], bool] = lambda _: True) -> Estimate | None:
        """Return the mean of a metric over generators, its interval from their joint resamples; None of nothing."""
        return joint_mean(self._chosen(condition, keep), metric)

    def mean_draws(
        self, metric: str, condition: str, keep: Callable[[Figures], bool] = lambda _: True
    ) -> Floats | None:
        """Return the bootstrap values of :meth:`mean`."""
        chosen = defined(self._chosen(condition, keep), metric)
        return joint_draws(chosen, metric) if chosen else None

    def worst(self, metric: str, condition: str) -> Figures | None:
        """Return the generator where the metric is lowest."""
        chosen = defined(self._chosen(condition, lambda _: True), metric)
        return min(chosen, key=lambda item: item.estimates[metric].value) if chosen else None

    def _chosen(self, condition: str, keep: Callable[[Figures], bool]) -> list[Figures]:
        return [item for (where, _), item in self.figures.items() if where == condition and keep(item)]


def defined(figures: Iterable[Figures], metric: str) -> list[Figures]:
    """Return those in which a metric has a value."""
    return [item for item in figures if metric in item.estimates and not math.isnan(item.estimates[metric].value)]


def joint_draws(figures: Sequence[Figures], metric: str) -> Floats:
    """Return the bootstrap values of a metric's mean over figures: resample by resample, for all met the same ones."""
    return np.asarray(np.mean([item.draws[metric] for item in figures], axis=0))


def joint_mean(figures: Iterable[Figures], metric: str) -> Estimate | None:
    """Return the mean of a metric over figures of one or more detectors, bootstrapped where they are several.

    Its interval comes from the joint resamples; its ``n`` counts a test set once, however many detectors met it. None
    where no figure has a value.
    """
    chosen = defined(figures, metric)
    if len(chosen) < 2:
        return chosen[0].estimates[metric] if chosen else None
    value = float(np.mean([item.estimates[metric].value for item in chosen]))
    images = {(item.condition, item.generator): item.reals + item.fakes for item in chosen}
    return Estimate.of(value, bootstrap_interval(joint_draws(chosen, metric)), sum(images.values()))


def in_domain(figures: Figures) -> bool:
    """Whether the detector was trained on the generator: the diagonal."""
    return figures.in_domain


def cross_generator(figures: Figures) -> bool:
    """Whether the generator is new to the detector: off the diagonal."""
    return not figures.in_domain


DOMAINS = {"cross": cross_generator, "in_domain": in_domain}
"""Generators new to a detector, and those that it was trained on."""


@dataclass(frozen=True)
class Detection:
    """All figures of one detection task.

    Attributes:
        task: its spec.
        generators: tested generators; those that a head was trained on come first, in the heads' order.
        conditions: degradations, then the harmonised ones.
        detectors: all heads of all models.
        records, failures: how many answers were asked for, and how many failed, by reason.
    """

    task: DetectionTask
    generators: Sequence[str]
    conditions: Sequence[str]
    detectors: Sequence[Detector]
    records: int
    failures: Mapping[str, int] = field(default_factory=dict)


def evaluate(
    task: DetectionTask,
    cells: Sequence[Cell],
    cards: Mapping[str, Card],
    infos: Sequence[SubsetInfo],
    store: CellStore,
    resamples: int,
    seed: int,
) -> Detection:
    """Compute every figure of a task from its records.

    Args:
        task: the task.
        cells: its cells.
        cards: cards by model name.
        infos: subsets of its data set.
        store: where the records lie.
        resamples: bootstrap resamples.
        seed: of the resampling; one seed gives the same draws for all detectors, so that they stay paired.

    Raises:
        DataError: a threshold's calibration split lacks a class.
    """
    generators, reals = tested_subsets(task, infos)

    def of_model(model: str, mine: Sequence[Cell]) -> tuple[list[Detector], Counter[str]]:
        card = cards[model]
        answers = {(cell.split, cell.degradation, cell.subset): read_answers(store, cell, card) for cell in mine}
        tested = {
            (condition, generator): join(
                (answers[task.split, condition, subset] for subset in (*reals_for(generator, set(reals)), generator)),
                len(card.heads),
            )
            for condition in conditions(task)
            for generator in generators
        }
        failures = counted(item.failures for item in answers.values())
        return list(_detectors(task, model, card, tested, answers, infos, resamples, seed)), failures

    by_model: dict[str, list[Cell]] = {}
    for cell in cells:
        by_model.setdefault(cell.model, []).append(cell)
    detectors: list[Detector] = []
    failures: Counter[str] = Counter()
    with ThreadPoolExecutor(ABREAST, thread_name_prefix="figures") as pool:
        for found, failed in pool.map(of_model, by_model, by_model.values()):
            detectors += found
            failures += failed
    return Detection(
        task,
        _ordered(generators, detectors),
        conditions(task),
        detectors,
        sum(cell.images for cell in cells),
        dict(sorted(failures.items())),
    )


def _ordered(generators: Sequence[str], detectors: Sequence[Detector]) -> list[str]:
    """Return the generators in the order of the heads that know them, so that the diagonal is one; then the others."""
    known = [name for detector in detectors for name in detector.head.trained_on if name in generators]
    return list(dict.fromkeys([*known, *generators]))


def _detectors(
    task: DetectionTask,
    model: str,
    card: Card,
    tested: Mapping[tuple[str, str], Answers],
    answers: Mapping[tuple[str, str, str], Answers],
    infos: Sequence[SubsetInfo],
    resamples: int,
    seed: int,
) -> Iterator[Detector]:
    clean = join((item for (condition, _), item in tested.items() if condition == CLEAN), len(card.heads))
    thresholds = [
        choose(task.threshold, card, index, calibration_of(task, head, answers, infos, len(card.heads)), clean)
        for index, head in enumerate(card.heads)
    ]
    figures: list[dict[tuple[str, str], Figures]] = [{} for _ in card.heads]
    for (condition, generator), item in tested.items():
        values = _table(card, item, thresholds, None)
        draws = bootstrap(
            lambda w: np.stack(list(_table(card, item, thresholds, w).values()), axis=-1),  # noqa: B023
            item.sources,
            resamples,
            seed,
        )
        for index, head in enumerate(card.heads):
            figures[index][condition, generator] = Figures(
                generator=generator,
                condition=condition,
                in_domain=generator in head.trained_on,
                reals=int((item.labels == 0).sum()),
                fakes=int((item.labels == 1).sum()),
                failures=item.failures,
                estimates=_rates(item, index, thresholds[index])
                | {
                    name: Estimate.of(value[index], bootstrap_interval(draws[:, index, place]), len(item.labels))
                    for place, (name, value) in enumerate(values.items())
                },
                draws={name: draws[:, index, place] for place, name in enumerate(values)},
                right=_outcomes(item, index, thresholds[index]) if condition == CLEAN else NO_OUTCOMES,
            )
    for index, head in enumerate(card.heads):
        yield Detector(
            name=detector_names(model, card)[index],
            model=model,
            head=head,
            threshold=thresholds[index],
            figures=figures[index],
            mistakes=_mistakes(tested, index, thresholds[index]),
        )


FPRS = {"tpr_at_1pct_fpr": 0.01, "tpr_at_5pct_fpr": 0.05}


def _table(
    card: Card, answers: Answers, thresholds: Sequence[float], weights: NDArray[Any] | None
) -> dict[str, Floats]:
    """Return each figure of every head, (heads,), or (resamples, heads) with weights (resamples, n)."""
    rows = [
        _figures(card, answers.scores[:, head], answers.labels, threshold, weights)
        for head, threshold in enumerate(thresholds)
    ]
    return {name: np.stack([row[name] for row in rows], axis=-1) for name in rows[0]}


def _figures(
    card: Card, scores: Floats, labels: NDArray[np.int64], threshold: float, weights: NDArray[Any] | None
) -> dict[str, Floats]:
    """Return the figures that are bootstrapped, by name, in the order of tables."""
    found = ranking(scores, labels, tuple(FPRS.values()), weights)
    figures = {
        "balanced_accuracy": rates(scores, labels, threshold, weights).balanced_accuracy,
        "auroc": found.auroc,
        "average_precision": found.average_precision,
        **dict(zip(FPRS, found.tpr, strict=True)),
    }
    if card.score == "probability" and card.fake == "high":
        figures["ece"] = expected_calibration_error(scores, labels, weights=weights)
    return figures


def _right(answers: Answers, head: int, threshold: float) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = (answers.scores[:, head] > threshold) == (answers.labels == 1)
    return right


def _outcomes(answers: Answers, head: int, threshold: float) -> Outcomes:
    return Outcomes.of(answers.ids, _right(answers, head, threshold))


def _rates(answers: Answers, head: int, threshold: float) -> dict[str, Estimate]:
    """Return the plain rates with Wilson intervals."""
    right = _right(answers, head, threshold)
    parts = {
        "accuracy": right,
        "real_accuracy": right[answers.labels == 0],
        "fake_accuracy": right[answers.labels == 1],
    }
    return {name: Estimate.of_rate(int(part.sum()), len(part)) for name, part in parts.items()}


def calibration_of(
    task: DetectionTask,
    head: Head,
    answers: Mapping[tuple[str, str, str], Answers],
    infos: Sequence[SubsetInfo],
    heads: int,
) -> Answers | None:
    """Return the calibration split's answers on the head's own training subsets, or on all where it names none."""
    if not isinstance(task.threshold, CalibratedThreshold | AtFprThreshold):
        return None
    here = {info.subset: info.label for info in infos if info.split == task.threshold.split}
    reals = {name for name, label in here.items() if label == 0}
    own = [name for name in here if name in head.trained_on] or [name for name, label in here.items() if label == 1]
    wanted = {*own, *(real for name in own for real in reals_for(name, reals))} or reals
    return join((answers[task.threshold.split, CLEAN, name] for name in sorted(wanted)), heads)


def _mistakes(
    tested: Mapping[tuple[str, str], Answers], head: int, threshold: float, most: int = 12
) -> tuple[Mistake, ...]:
    found: dict[str, Mistake] = {}
    for (condition, generator), item in tested.items():
        scores = item.scores[:, head]
        if condition != CLEAN or not len(scores):
            continue
        spread = float(scores.std()) or 1.0
        wrong = np.flatnonzero(~_right(item, head, threshold))
        for index in wrong[np.argsort(-np.abs(scores[wrong] - threshold), kind="stable")][:most]:
            score = float(scores[index])
            name = item.samples[index].as_py()
            margin = abs(score - threshold) / spread
            found.setdefault(name, Mistake(name, generator, int(item.labels[index]), score, threshold, margin))
    return tuple(sorted(found.values(), key=lambda item: (-item.margin, item.sample))[:most])
