"""A load task laid out: latency, throughput and goodput of every load, curves, and searches. Computes no figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from harness.load.scenarios import Concurrency, Load, Rate
from harness.report.tree import Block, Cell, Column, Curves, Section, Table, Text
from harness.stats import Estimate
from harness.stats.quantiles import fewest
from harness.tasks.load import QUANTILES, LoadFigures, Loads, PeakFigures

_INTRO = (
    "Real images are sent, and every answer is held against the model's answer to the same image alone. Latency counts"
    " from when a request was wanted: in an open loop (a rate) when it was due, however busy the client or the model;"
    " in a closed loop (a concurrency) when it was sent. Warm-ups are left out. Requests without an answer count as"
    " later than any. Intervals of percentiles are 95 %, by order statistics, and take requests as independent. A load"
    " that is not VALID is shown all the same, with why, and has no place."
)

MS = 1e3

_MEMORY = (
    Column("process", "memory of who answers", "bytes"),
    Column("machine", "in use on its machine", "bytes"),
    Column("gpu", "in use on its GPUs", "bytes"),
)
"""Columns of :class:`harness.load.memory.Memory`; each is shown where it is known of any load."""

Judged = TypeVar("Judged", LoadFigures, PeakFigures)


def load_sections(found: Loads, many: bool) -> Iterator[Section]:
    """Lay out a load task.

    Args:
        found: its figures.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    prefix = f"{found.task.name}: " if many else ""
    yield Section(f"{prefix}Under load", tuple(_blocks(found)), _INTRO)
    if found.peaks:
        yield Section(f"{prefix}The search of the peak", (_steps(found),), detail=True)


def _blocks(found: Loads) -> Iterator[Block]:
    if found.figures:
        yield _loads(found)
    if lacking := _lacking(found):
        yield Text(lacking)
    if found.peaks:
        yield _peaks(found)
    if why := _why(found):
        yield why
    yield from _curves(found)
    if found.figures:
        yield _inside(found)


def _loads(found: Loads) -> Table:
    slo = found.task.slo_ms
    columns = (
        Column("rank", "place", "int"),
        Column("model", "model"),
        Column("load", "load"),
        Column("throughput", "images/s", "float", "high"),
        Column("verdict", "verdict"),
        Column("requests", "requests", "int"),
        *(Column(name.replace(".", "_"), f"{name} (ms)", "float", "low") for name in QUANTILES),
        *([Column("goodput", f"goodput in {slo:g} ms", "percent", "high")] if slo else []),
        Column("failed", "failed", "int"),
        Column("wrong", "wrong", "int"),
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "rank": place,
            "model": item.model,
            "load": item.load.brief,
            "throughput": item.throughput,
            "verdict": "INVALID" if item.reasons else "VALID",
            "requests": item.requests,
            **{name.replace(".", "_"): in_ms(item.latency[name]) for name in QUANTILES},
            "goodput": item.goodput,
            "failed": sum(item.failures.values()),
            "wrong": item.wrong,
        }
        for place, item in _placed(found.figures, lambda item: item.throughput)
    ]
    return Table(f"{found.task.name}_loads_leaderboard", "Every load", columns, tuple(rows))


def _placed(items: Iterable[Judged], figure: Callable[[Judged], float]) -> Iterator[tuple[int | None, Judged]]:
    """Yield what is VALID by place, the highest figure first, and then, without one, what is not."""
    known = list(items)
    yield from enumerate(sorted((item for item in known if not item.reasons), key=figure, reverse=True), 1)
    yield from ((None, item) for item in known if item.reasons)


def _inside(found: Loads) -> Table:
    """Return what explains the figures: who waited where, and what LoadGen says."""
    columns = (
        Column("model", "model"),
        Column("load", "load"),
        Column("lag", "client's lag, p99 (ms)", "float"),
        Column("spread", "last windows apart", "percent"),
        Column("queue", "server's queue (ms)", "float"),
        Column("compute", "server's compute (ms)", "float"),
        *(column for column in _MEMORY if any(getattr(item.memory, column.key) for item in found.figures)),
        Column("loadgen", "LoadGen"),
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "model": item.model,
            "load": item.load.brief,
            "lag": item.lag * MS,
            "spread": item.spread,
            "queue": item.queue * MS,
            "compute": item.compute * MS,
            **{column.key: getattr(item.memory, column.key) for column in _MEMORY},
            "loadgen": item.verdict,
        }
        for item in found.figures
    ]
    return Table(f"{found.task.name}_inside", "Where the time went, a request", columns, tuple(rows))


def _why(found: Loads) -> Table | None:
    """Return the reasons of what is INVALID; None where nothing is."""
    columns = (Column("model", "model"), Column("load", "load"), Column("reason", "why it is INVALID"))
    items: list[LoadFigures | PeakFigures] = [*found.figures, *found.peaks]
    rows: list[Mapping[str, Cell]] = [
        {"model": item.model, "load": item.load.brief, "reason": reason} for item in items for reason in item.reasons
    ]
    return Table(f"{found.task.name}_reasons", "What is not VALID", columns, tuple(rows)) if rows else None


def _lacking(found: Loads) -> str:
    """Return why percentiles are missing, in one line; empty where none is."""
    few, late = [], []
    for name, q in QUANTILES.items():
        unknown = [item.latency[name].n for item in found.figures if math.isnan(item.latency[name].value)]
        if any(n < fewest(q) for n in unknown):
            few.append(f"{name} needs {fewest(q):,} requests")
        if any(n >= fewest(q) for n in unknown):
            late.append(name)
    if late:
        few.append(f"with failed requests, {' and '.join(late)} can lie beyond the time limit")
    return f"Dashes: {', '.join(few)}." if few else ""


def _peaks(found: Loads) -> Table:
    columns = (
        Column("rank", "place", "int"),
        Column("model", "model"),
        Column("load", "bound"),
        Column("rate", "highest rate that meets it (requests/s)", "float", "high"),
        Column("verdict", "verdict"),
        Column("missed", "lowest that misses it", "float"),
        Column("steps", "rates tried", "int"),
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "rank": place,
            "model": item.model,
            "load": f"{item.load.percentile:g} % right within {item.load.slo_ms:g} ms",
            "rate": item.rate,
            "verdict": "INVALID" if item.reasons else "VALID",
            "missed": None if math.isinf(item.missed) else item.missed,
            "steps": len(item.steps),
        }
        for place, item in _placed(found.peaks, lambda item: item.rate)
    ]
    return Table(f"{found.task.name}_peaks_leaderboard", "Peaks", columns, tuple(rows))


def _steps(found: Loads) -> Table:
    columns = (
        Column("model", "model"),
        Column("rate", "requests/s", "float"),
        Column("met", "meets the bound"),
        Column("in_time", "right in time", "percent"),
        Column("latency", "latency at the percentile (ms)", "float"),
        Column("lag", "client's lag, p99 (ms)", "float"),
        Column("requests", "requests", "int"),
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "model": peak.model,
            "rate": item.step.rate,
            "met": "yes" if item.step.met else "no",
            "in_time": item.in_time,
            "latency": in_ms(item.latency),
            "lag": item.lag * MS,
            "requests": item.in_time.n,
        }
        for peak in found.peaks
        for item in peak.steps
    ]
    return Table(f"{found.task.name}_peak_steps", "Rates in the order in which they were tried", columns, tuple(rows))


def _curves(found: Loads) -> Iterator[Curves]:
    """Yield latency and throughput along each sweep of more than one level."""
    for kind, key, words in ((Concurrency, "concurrency", "requests in flight"), (Rate, "rate", "requests a second")):
        mine = [item for item in found.figures if isinstance(item.load, kind)]
        levels = sorted({_level(item.load) for item in mine})
        if len(levels) < 2:
            continue
        models = list(dict.fromkeys(item.model for item in mine))
        at = {(item.model, _level(item.load)): item for item in mine}
        labels = tuple(f"{level:g}" for level in levels)
        latency = {
            f"{model} {name}" if len(models) > 1 else name: tuple(
                _drawn(in_ms(at[model, level].latency[name])) for level in levels
            )
            for model in models
            for name in QUANTILES
        }
        yield Curves(
            f"{found.task.name}_latency_by_{key}",
            f"Latency by {words}",
            labels,
            {name: values for name, values in latency.items() if any(value is not None for value in values)},
            "latency (ms)",
            words,
            "float",
            chance=None,
        )
        pace = {
            model: tuple(
                _drawn(Estimate.bare(item.throughput, item.requests)) for level in levels for item in [at[model, level]]
            )
            for model in models
        }
        title = f"Throughput by {words}"
        yield Curves(
            f"{found.task.name}_throughput_by_{key}", title, labels, pace, "images/s", words, "float", chance=None
        )


def _level(load: Load) -> float:
    return float(load.requests if isinstance(load, Concurrency) else load.per_s if isinstance(load, Rate) else 0)


def _drawn(value: Estimate) -> Estimate | None:
    return None if math.isnan(value.value) else value


def in_ms(value: Estimate) -> Estimate:
    """Return an estimate in seconds as milliseconds."""
    return Estimate(value.value * MS, value.low * MS, value.high * MS, value.n)
