"""An endpoint beside the model that it should be: one run of both, compared with itself, and a verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.backends import EndpointOptions, ModelInfo, open_backend
from harness.baselines import Side
from harness.card import Card
from harness.compare import compare
from harness.comparison.change import POOLED, Change
from harness.errors import CardError, EndpointError, SuiteError, problem
from harness.events import Events
from harness.images.degrade import CLEAN
from harness.images.preprocess import preprocess
from harness.models import VARIANT, Model, Wanted, expand
from harness.names import did_you_mean
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

ROUNDS, WARM = 30, 3
"""Timed requests of each model, one after the other in turns, and those before them."""

DETECTION = {"name", "data", "subsets", "split", "degradations", "threshold", "harmonise", "audit"}
CLASSIFICATION = {"name", "data", "subsets", "split", "degradations"}
"""What is kept of a suite's task: the rest names models that are not asked here."""

QUALITY = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC", "top1": "top-1"}
"""Figures by which an endpoint is as good, and their names."""

WORST = 3
"""So many subsets whose decisions differ most are named."""


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
    side = Side(finished.info, asked.out)
    changes = compare(side, side, events, {endpoint: reference}).changes
    clean = [change for change in changes if change.place.condition == CLEAN]
    reasons = tuple(finished.reasons)
    seconds = None
    if not reasons:
        with prepare(question, RunStore(asked.out), events) as ready:
            try:
                seconds = take_turns(ready.models[reference], ready.models[endpoint], clock)
            except EndpointError as error:
                reasons = (f"it stopped answering: {error.reason}",)
    verdicts = (
        judge_decisions([change for change in clean if change.figure == "flips"], asked.limits.flips),
        judge_quality(_of_quality(clean, endpoint), asked.limits.margin),
        Verdict("as fast?", None, _word(None), f"not measured: {reasons[0]}")
        if seconds is None
        else judge_speed(*seconds, asked.limits.slower, suite.resamples, suite.seed),
    )
    return Evaluated(finished, reference, endpoint, verdicts, reasons)


def judge_decisions(flips: Sequence[Change], most: float) -> Verdict:
    """Judge how many images are decided otherwise, over all tasks, and name the subsets where most are."""
    whole = [item for item in flips if item.place.subset == POOLED]
    changed, images = round(sum(item.after for item in whole)), sum(item.change.n for item in whole)
    if not images:
        return Verdict("same decisions?", None, _word(None), "none was answered by both")
    share = Estimate.of_rate(images - changed, images)
    holds = changed <= most * images
    told = f"{changed:,} of {images:,} decisions differ, agreement {_percent(share)}"
    parts = sorted((item for item in flips if item not in whole and item.after), key=lambda item: -item.change.value)
    if parts:
        named = (f"{item.place.subset} {item.after:,.0f} of {item.change.n:,}" for item in parts[:WORST])
        told += f"; most of {', '.join(named)}"
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


def _of_quality(changes: Iterable[Change], endpoint: str) -> dict[str, Estimate]:
    """Return the changes of figures over all images, by task, head where the endpoint has several, and figure."""
    pooled = [item for item in changes if item.figure in QUALITY and item.place.subset == POOLED]
    heads = [item.place.model.rpartition(endpoint)[2] for item in pooled]
    return {
        f"{item.place.task}{head} {QUALITY[item.figure]}": item.change for item, head in zip(pooled, heads, strict=True)
    }


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
    named = [item for item in suite.models if asked.endpoint in item.addresses]
    others = [item for item in suite.models if asked.endpoint not in item.addresses]
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


def _word(holds: bool | None) -> str:
    return "unknown" if holds is None else "yes" if holds else "no"


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.2f} % [{100 * share.low:.2f}, {100 * share.high:.2f}]"
