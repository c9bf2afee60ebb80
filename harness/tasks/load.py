"""Task `load`: from records to latencies, throughput, goodput and peaks, and whether a figure can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.load.cells import LoadCell
from harness.load.engine import steps_of
from harness.load.figures import spread, window_medians
from harness.load.memory import Memory
from harness.load.peak import Step, bracket
from harness.load.scenarios import Load, Offline, Peak, latency_column
from harness.spec.loading import LoadTask
from harness.stats import Estimate
from harness.stats.quantiles import needed, percentile
from harness.store.cells import CellStore
from harness.store.loads import WRONG

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
"""Every percentile by its name."""

BEHIND, LEAST_S = 0.1, 0.001
"""A client fell behind where the 99th percentile of its lag is above so large a share of that of latency, or of the
highest one below it that is known, and above so many seconds."""


@dataclass(frozen=True)
class LoadFigures:
    """One model under one load, repeats together.

    Attributes:
        model: its name.
        load: how requests were sent.
        requests: how many were wanted, the warm-up apart.
        throughput: images a second that were answered; mean over repeats; nan where none was.
        latency: by name of QUANTILES, seconds from when a request was wanted; of Offline, whose requests are all wanted
            at once, from when one was sent. Requests without an answer count as infinitely late.
        goodput: share of requests answered rightly within the task's ``slo_ms``; None without one,
            and of Offline.
        wrong: answers that are not those at rest.
        failures: requests without an answer, by reason.
        lag: 99th percentile of the seconds from wanted to sent, which is the client's own; nan of closed loops.
        spread: of medians of the last three windows, as a share of the least; the largest of the repeats.
        queue, compute: seconds a request in the server, as Triton tells; nan of others.
        memory: the most that was in use at the end of a repeat.
        verdict: LoadGen's, of a repeat that it did not find VALID, if there is one; empty where it did not drive.
        reasons: why the figures must not be trusted; empty where they may.
    """

    model: str
    load: Load
    requests: int
    throughput: float
    latency: Mapping[str, Estimate]
    goodput: Estimate | None
    wrong: int
    failures: Mapping[str, int]
    lag: float
    spread: float
    queue: float
    compute: float
    memory: Memory
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PeakStep:
    """One rate of a search.

    Attributes:
        step: the rate and whether it met the bound.
        in_time: share of its requests that were answered rightly in time.
        latency: at the search's percentile, seconds; requests without an answer count as infinitely late.
        lag: as in :class:`LoadFigures`.
    """

    step: Step
    in_time: Estimate
    latency: Estimate
    lag: float


@dataclass(frozen=True)
class PeakFigures:
    """One model's search.

    Attributes:
        model: its name.
        load: the search.
        rate: highest rate that meets the bound, requests a second; 0: none does.
        missed: the lowest above it that misses; infinite: none did.
        steps: in the order in which they were taken.
        wrong: answers that are not those at rest, in all steps.
        reasons: why the figure must not be trusted.
    """

    model: str
    load: Peak
    rate: float
    missed: float
    steps: tuple[PeakStep, ...]
    wrong: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Loads:
    """All figures of one load task.

    Attributes:
        task: its spec.
        figures: one a model and load, in the order of the suite.
        peaks: one a model, where the task searches.
        reasons: why the run must not be trusted: wrong answers, or a model none of whose loads is VALID. One load that
            is not is no such reason: a rate above the peak can't hold still.
    """

    task: LoadTask
    figures: tuple[LoadFigures, ...]
    peaks: tuple[PeakFigures, ...]
    reasons: tuple[str, ...]


def evaluate_loads(task: LoadTask, cells: Sequence[LoadCell], store: CellStore, max_failures: float) -> Loads:
    """Compute a task's figures from its records.

    Args:
        task: its spec.
        cells: its cells.
        store: their records.
        max_failures: share of requests without an answer above which a load is not trusted.
    """
    figures, peaks = [], []
    for cell in cells:
        frame = store.read(cell.key).to_pandas()
        if isinstance(cell.load, Peak):
            peaks.append(_peak(cell, cell.load, frame))
        else:
            figures.append(_figures(cell, frame, max_failures))
    return Loads(task, tuple(figures), tuple(peaks), tuple(_reasons(task.name, figures, peaks)))


def _figures(cell: LoadCell, frame: pd.DataFrame, max_failures: float) -> LoadFigures:
    task, load = cell.task, cell.load
    wanted_at_once = isinstance(load, Offline)
    frame = frame.assign(latency=frame[latency_column(load.id)])
    answered = frame[frame["error"].isna() | (frame["error"] == WRONG)]
    failures = Counter(frame["error"].dropna()[lambda errors: errors != WRONG])
    spreads = [
        spread(window_medians(part["sent"], part["latency"], task.windows)) for _, part in answered.groupby("repeat")
    ]
    verdicts = sorted(dict.fromkeys(frame["verdict"].dropna()), key=lambda verdict: verdict.startswith("VALID"))
    figures = LoadFigures(
        model=cell.model,
        load=load,
        requests=len(frame),
        throughput=_throughput(answered),
        latency={name: percentile(answered["latency"], q, missing=failures.total()) for name, q in QUANTILES.items()},
        goodput=_in_time(frame, task.slo_ms) if task.slo_ms and not wanted_at_once else None,
        wrong=int((frame["error"] == WRONG).sum()),
        failures=failures,
        lag=_lag(frame) if load.open else math.nan,
        spread=math.nan if not spreads or any(map(math.isnan, spreads)) else max(spreads),
        queue=float(frame["queue"].astype(float).mean()),
        compute=float(frame["compute"].astype(float).mean()),
        memory=Memory(*(_most(frame[column]) for column in ("memory", "machine_memory", "gpu_memory"))),
        verdict=verdicts[0] if verdicts else "",
        reasons=(),
    )
    return _judged(figures, task, max_failures)


def _judged(figures: LoadFigures, task: LoadTask, max_failures: float) -> LoadFigures:
    """Return the figures with why they must not be trusted."""
    reasons = []
    least, failed = needed(QUANTILES["p90"]), sum(figures.failures.values())
    if figures.verdict and not figures.verdict.startswith("VALID"):
        do = "; raise `seconds`" if figures.verdict.startswith("INVALID (Early stopping") else ""
        reasons.append(f"LoadGen: {figures.verdict.partition(';')[0]}{do}")
    if not figures.load.driven and figures.requests < least:
        reasons.append(f"too few requests: {figures.requests}, where the interval of p90 needs {least}")
    if math.isnan(figures.spread):
        reasons.append("unstable: a window of time without an answer")
    elif figures.spread > task.stable_within:
        reasons.append(f"unstable: medians of the last windows are {figures.spread:.0%} apart")
    if figures.wrong:
        reasons.append(f"{figures.wrong} wrong answers")
    if failed > max_failures * figures.requests:
        why = ", ".join(f"{count} {reason}" for reason, count in figures.failures.items())
        reasons.append(f"{failed} of {figures.requests} requests failed ({why})")
    if _behind(figures.lag, [figures.latency[name].value for name in ("p50", "p90", "p99")]):
        reasons.append(f"the client fell behind its schedule: {figures.lag * 1e3:.1f} ms at the 99th percentile")
    return replace(figures, reasons=tuple(reasons))


def _peak(cell: LoadCell, load: Peak, frame: pd.DataFrame) -> PeakFigures:
    steps = []
    for step in steps_of(load, frame):
        mine = frame[frame["rate"] == step.rate]
        known = mine[mine["error"].isna() | (mine["error"] == WRONG)]["seconds"]
        latency = percentile(known, load.percentile / 100, missing=len(mine) - len(known))
        steps.append(PeakStep(step, _in_time(mine, load.slo_ms), latency, _lag(mine)))
    rate, missed = bracket([item.step for item in steps])
    reasons = [] if rate else [f"no rate meets {load.slo_ms:g} ms at the {load.percentile:g}th percentile"]
    if rate and math.isinf(missed):
        reasons.append("the search ended before a rate missed the bound")
    first_miss = next((item for item in steps if item.step.rate == missed), None)
    if first_miss is not None and first_miss.lag * 1e3 > BEHIND * load.slo_ms:
        reasons.append(
            f"at {missed:.3g}/s the client fell behind its schedule ({first_miss.lag * 1e3:.1f} ms): the peak is"
            " the client's"
        )
    if wrong := int((frame["error"] == WRONG).sum()):
        reasons.append(f"{wrong} wrong answers")
    return PeakFigures(cell.model, load, rate, missed, tuple(steps), wrong, tuple(reasons))


def _throughput(answered: pd.DataFrame) -> float:
    """Return images a second from the first request wanted to the last answer, mean over repeats."""
    paces = []
    for _, part in answered.groupby("repeat"):
        span = (part["scheduled"] + part["seconds"]).max() - part["scheduled"].min()
        paces.append(part["batch"].sum() / span if span > 0 else math.nan)
    return float(np.mean(paces)) if paces else math.nan


def _in_time(frame: pd.DataFrame, slo_ms: float) -> Estimate:
    """Return the share of requests that were answered rightly within a bound, with its interval."""
    right = frame["error"].isna() & (frame["seconds"] * 1e3 <= slo_ms)
    return Estimate.of_rate(int(right.sum()), len(frame))


def _most(values: pd.Series[Any]) -> int | None:
    return int(values.max()) if values.notna().any() else None


def _lag(frame: pd.DataFrame) -> float:
    sent = (frame["sent"] - frame["scheduled"]).dropna()
    return float(sent.quantile(0.99)) if len(sent) else math.nan


def _behind(lag: float, latencies: Sequence[float]) -> bool:
    known = [latency for latency in latencies if not math.isnan(latency)]
    return lag > max(LEAST_S, BEHIND * max(known, default=0.0))


def _reasons(name: str, figures: Sequence[LoadFigures], peaks: Sequence[PeakFigures]) -> Iterator[str]:
    models = [*(item.model for item in figures), *(item.model for item in peaks)]
    for model in dict.fromkeys(models):
        mine = [item for item in figures if item.model == model]
        searched = [item for item in peaks if item.model == model]
        why = [item.reasons for item in mine] + [item.reasons for item in searched]
        if wrong := sum(item.wrong for item in mine) + sum(item.wrong for item in searched):
            sent = sum(item.requests for item in mine) + sum(step.in_time.n for item in searched for step in item.steps)
            yield f"{name}: {model} gave {wrong} wrong answers to {sent} requests"
        if all(why):
            yield f"{name}: no load of {model} is VALID ({why[0][0]})"
