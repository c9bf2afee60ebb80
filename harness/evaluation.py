"""An endpoint beside the model that it should be: one run of both, and a verdict. Never compares two runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.backends import EndpointOptions, ModelInfo, open_backend
from harness.card import Card
from harness.conclude import Prepared
from harness.errors import CardError, EndpointError, SuiteError, problem
from harness.events import Events
from harness.images.degrade import CLEAN
from harness.images.preprocess import preprocess
from harness.models import VARIANT, Model, Wanted, expand
from harness.names import did_you_mean
from harness.plan import Plan, make_plan
from harness.probe.images import photographs
from harness.probe.metadata import image_input, score_output
from harness.repository import find_entries, load_entry
from harness.run import Asked, Finished, prepare
from harness.run import run as run_suite
from harness.spec.load import load_suite
from harness.spec.suite import ModelSpec, Suite, ThirdParty
from harness.spec.tasks import ClassificationTask, DetectionTask
from harness.stats import Estimate, bootstrap_interval
from harness.store.runs import RunStore
from harness.tasks.answers import Outcomes
from harness.tasks.classification import evaluate_classes
from harness.tasks.detection import Detector
from harness.tasks.detection import evaluate as detect

ROUNDS, WARM = 30, 3
"""Timed requests of each model, one after the other in turns, and those before them."""

DETECTION = {"name", "data", "subsets", "split", "degradations", "threshold", "harmonise", "audit"}
CLASSIFICATION = {"name", "data", "subsets", "split", "degradations"}
"""What is kept of a suite's task: the rest names models that are not asked here."""

METRICS = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


@dataclass(frozen=True)
class Limits:
    """What still holds.

    Attributes:
        flips: share of the images that may be decided otherwise.
        margin: what a figure may lose and still be as good, as a share.
        slower: ratio of latencies that is fast enough; None: any.
    """

    flips: float = 0.0
    margin: float = 0.005
    slower: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What is asked.

    Attributes:
        endpoint, options: the endpoint, and how it is used.
        suite, settings, out, limit: as of :class:`harness.run.Asked`.
        reference: name of the model that it should be; found by its card or weights where None.
        limits: what still holds.
    """

    endpoint: str
    options: EndpointOptions
    suite: Path
    reference: str | None = None
    settings: tuple[str, ...] = ()
    out: Path = Path("reports")
    limit: int | None = None
    limits: Limits = Limits()


@dataclass(frozen=True)
class Verdict:
    """One of three answers; ``holds`` is None where it can't be told, or nothing was demanded."""

    question: str
    holds: bool | None
    answer: str
    evidence: str


@dataclass(frozen=True)
class Evaluated:
    """The run of both, what they are called in it, the verdicts, and why they must not be trusted (empty: they may)."""

    finished: Finished
    reference: str
    endpoint: str
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]


def evaluate(asked: Evaluation, events: Events, clock: Callable[[], float] = time.perf_counter) -> Evaluated:
    """Run a suite's detection and classification tasks with an endpoint and its reference, and judge.

    Raises:
        SuiteError: no reference can be told, or the suite has no such task.
        CardError: the endpoint takes other tensors than its reference.
        HarnessError: the run fails.
    """
    suite = load_suite(asked.suite, asked.settings)
    with closing(open_backend(asked.endpoint, asked.options)) as backend:
        info = backend.info()
    specs = _specs(asked, suite, info)
    reference, endpoint = (spec.name for spec in specs)
    said = {
        "models": [spec.model_dump(mode="json", exclude_defaults=True) for spec in specs],
        "tasks": list(_tasks(suite, reference)),
    }
    settings = (*asked.settings, *(f"{key}={json.dumps(value)}" for key, value in said.items()))
    question = Asked(asked.suite, settings, asked.out, asked.limit)
    finished = run_suite(question, events)
    store = RunStore(asked.out)
    with prepare(question, store, events) as ready:
        plan = make_plan(ready.suite, ready.models, ready.datasets, asked.limit, finished.info.id)
        held = list(_held(ready, plan, store, reference, endpoint))
        reasons = tuple(finished.reasons)
        seconds = None
        if not reasons:
            try:
                seconds = take_turns(ready.models[reference], ready.models[endpoint], clock)
            except EndpointError as error:
                reasons = (f"it stopped answering: {error.reason}",)
    verdicts = (
        judge_decisions([item.flips for item in held], asked.limits.flips),
        judge_quality({name: change for item in held for name, change in item.changes.items()}, asked.limits.margin),
        Verdict("as fast?", None, _word(None), f"not measured: {reasons[0]}")
        if seconds is None
        else judge_speed(*seconds, asked.limits.slower, suite.resamples, suite.seed),
    )
    return Evaluated(finished, reference, endpoint, verdicts, reasons)


@dataclass(frozen=True)
class Held:
    """One task's comparison: (flips, images), and changes of figures, endpoint minus reference."""

    flips: tuple[int, int]
    changes: Mapping[str, Estimate]


def judge_decisions(flips: Sequence[tuple[int, int]], most: float) -> Verdict:
    """Judge how many images are decided otherwise, over all tasks."""
    changed, images = (sum(column) for column in zip(*flips, strict=True))
    if not images:
        return Verdict("same decisions?", None, _word(None), "none was answered by both")
    share = Estimate.of_rate(images - changed, images)
    holds = changed <= most * images
    told = f"{changed:,} of {images:,} decisions differ, agreement {_percent(share)}"
    return Verdict("same decisions?", holds, _word(holds), told)


def judge_quality(changes: Mapping[str, Estimate], margin: float) -> Verdict:
    """Judge whether no figure may have lost more than ``margin``: the lower end of its paired interval counts."""
    known = {name: change for name, change in changes.items() if not np.isnan(change.low)}
    holds = all(change.low >= -margin for change in known.values()) if known else None
    told = "; ".join(
        f"{name} {100 * item.value:+.2f} [{100 * item.low:+.2f}, {100 * item.high:+.2f}] points"
        for name, item in known.items()
    )
    worse = any(change.high < 0 for change in known.values())
    answer = "not shown" if holds is False and not worse else _word(holds)
    return Verdict("as good?", holds, answer, told or "no image has a label of its own")


def judge_speed(
    reference: NDArray[np.float64],
    endpoint: NDArray[np.float64],
    slower: float | None,
    repeats: int,
    seed: int,
) -> Verdict:
    """Judge the ratio of median latencies; its interval resamples rounds, in which both were asked.

    Args:
        reference, endpoint: seconds (rounds,).
        slower: the largest ratio that is fast enough; None demands nothing.
        repeats, seed: of the bootstrap.
    """
    picked = np.random.default_rng(seed).integers(len(reference), size=(repeats, len(reference)))
    draws = np.median(endpoint[picked], axis=1) / np.median(reference[picked], axis=1)
    bounds = bootstrap_interval(draws)
    ratio = float(np.median(endpoint) / np.median(reference))
    answer = "slower" if bounds.low > 1 else "faster" if bounds.high < 1 else "yes"
    holds = None if slower is None else bounds.low <= slower
    demanded = "" if slower is None else f"; at most {slower:g}x is demanded"
    told = (
        f"{ratio:.2f}x [{bounds.low:.2f}, {bounds.high:.2f}] the reference's latency at batch 1, medians"
        f" {1000 * np.median(endpoint):.2f} and {1000 * np.median(reference):.2f} ms{demanded}"
    )
    return Verdict("as fast?", holds, answer if holds is None else _word(holds), told)


def take_turns(
    reference: Model, endpoint: Model, clock: Callable[[], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return seconds (rounds,) of either model, asked about one image in turns, so that both meet the same machine."""
    seconds: dict[str, list[float]] = {reference.name: [], endpoint.name: []}
    requests = {}
    for model in (reference, endpoint):
        said = model.card.preprocess
        image = photographs(said.crop or said.resize or 224)[0]
        requests[model.name] = {model.card.input: preprocess(image, said)[None]}
    for turn in range(WARM + ROUNDS):
        for model in (reference, endpoint):
            started = clock()
            model.backend.infer(requests[model.name])
            if turn >= WARM:
                seconds[model.name].append(clock() - started)
    return np.array(seconds[reference.name]), np.array(seconds[endpoint.name])


def _specs(asked: Evaluation, suite: Suite, info: ModelInfo) -> tuple[ModelSpec, ModelSpec]:
    """Return the reference, and the endpoint under the name ``REFERENCE.endpoint``."""
    repository = asked.suite.parent / suite.repository
    named = [item for item in suite.models if item.endpoint == asked.endpoint]
    others = [item for item in suite.models if item.endpoint != asked.endpoint]
    known = {item.name: item for item in expand(others, repository, tasks=suite.asks) if VARIANT not in item.name}
    name = asked.reference or _same(info, known, repository)
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name is None:
        do = f"Name it: --reference NAME. The suite has {', '.join(known) or 'none'}"
        raise SuiteError(problem(asked.endpoint, "a model of the suite with its card or weights", "none", do))
    if name not in known and asked.reference is not None and not (repository / name).is_dir():
        raise SuiteError(problem("--reference", "a model of the suite", repr(name), did_you_mean(name, list(known))))
    spec = known[name].spec.model_copy(update={"name": name, "variants": {}}) if name in known else ModelSpec(name=name)
    card = named[0].card if named else None
    if card is None and info.card is None:
        card = _lent(asked.endpoint, info, spec, repository / name)
    options = asked.options.model_copy(update={"batch": spec.options.batch})
    return spec, ModelSpec(name=f"{name}.endpoint", endpoint=asked.endpoint, options=options, card=card)


def _same(info: ModelInfo, known: Mapping[str, Wanted], repository: Path) -> str | None:
    """Return the model of an endpoint's card, or the repository's entry of its weights."""
    if info.card is not None and info.card.name in known:
        return info.card.name
    entries = find_entries(repository) if repository.is_dir() and info.weights_sha256 else []
    return next((entry.name for entry in entries if entry.weights_sha256 == info.weights_sha256), None)


def _lent(endpoint: str, info: ModelInfo, spec: ModelSpec, folder: Path) -> ThirdParty:
    """Return the reference's card for an endpoint without one, with the endpoint's names of tensors."""
    own: Card | ThirdParty = spec.card or load_entry(folder).card
    taken = image_input(info, endpoint)
    said = own.preprocess
    if said.dtype != taken.dtype or said.layout not in taken.sides:
        got = f"{taken.dtype} {' or '.join(taken.sides)}"
        do = f"Describe it in the suite: harness probe {endpoint} --write FILE"
        raise CardError(problem(endpoint, f"{said.dtype} {said.layout} as {spec.name} takes", got, do))
    facts = {key: getattr(own, key) for key in ("preprocess", "score", "fake", "heads", "classes")}
    return ThirdParty(input=taken.name, output=score_output(info.outputs, None, endpoint), **facts)


def _tasks(suite: Suite, reference: str) -> Iterator[dict[str, object]]:
    """Yield the tasks that both models can be asked, without what concerns others.

    Raises:
        SuiteError: there is none.
    """
    found = [task for task in suite.tasks if isinstance(task, DetectionTask | ClassificationTask)]
    if not found:
        kinds = ", ".join(sorted({task.kind for task in suite.tasks}))
        do = "Name a suite that has one"
        raise SuiteError(problem(f"suite {suite.name}", "a detection or classification task", kinds, do))
    for task in found:
        if isinstance(task, DetectionTask):
            yield {"kind": task.kind, **task.model_dump(mode="json", include=DETECTION)}
        else:
            kept = task.model_dump(mode="json", include=CLASSIFICATION)
            yield {"kind": task.kind, "reference": reference, **kept}


def _held(ready: Prepared, plan: Plan, store: RunStore, reference: str, endpoint: str) -> Iterator[Held]:
    """Yield each task's comparison, from its records."""
    suite = ready.suite
    for task in suite.tasks:
        cells = plan.of(task.name)
        if isinstance(task, ClassificationTask):
            found = evaluate_classes(task, cells, ready.cards, store.cells, suite.resamples, suite.seed)
            pair = next(item for item in found.pairs if item.condition == CLEAN and item.candidate == endpoint)
            same = round(pair.estimates["agreement"].value * pair.images) if pair.images else 0
            yield Held((pair.images - same, pair.images), {f"{task.name} top-1": pair.estimates["top1_change"]})
        elif isinstance(task, DetectionTask):
            infos = ready.datasets[task.data].subsets()
            detectors = detect(task, cells, ready.cards, infos, store.cells, suite.resamples, suite.seed).detectors
            mine = [item for item in detectors if item.model == endpoint]
            for a, b in zip((item for item in detectors if item.model == reference), mine, strict=True):
                yield compare_detectors(task.name, a, b)


def compare_detectors(task: str, reference: Detector, endpoint: Detector) -> Held:
    """Return flips on clean images, and changes of means over generators from their joint resamples."""
    right = [
        Outcomes.union([item.right for (condition, _), item in side.figures.items() if condition == CLEAN])
        for side in (reference, endpoint)
    ]
    a, b = right[0].shared(right[1])
    changes = {}
    for metric, words in METRICS.items():
        before, after = reference.mean(metric, CLEAN), endpoint.mean(metric, CLEAN)
        draws = reference.mean_draws(metric, CLEAN), endpoint.mean_draws(metric, CLEAN)
        if before is not None and after is not None and draws[0] is not None and draws[1] is not None:
            change = Estimate.of(after.value - before.value, bootstrap_interval(draws[1] - draws[0]), after.n)
            changes[f"{reference.name.replace(reference.model, task, 1)} {words}"] = change
    return Held((int(np.count_nonzero(a != b)), len(a)), changes)


def _word(holds: bool | None) -> str:
    return "unknown" if holds is None else "yes" if holds else "no"


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.2f} % [{100 * share.low:.2f}, {100 * share.high:.2f}]"
