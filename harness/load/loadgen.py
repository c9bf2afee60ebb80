"""MLPerf LoadGen drives a client: its scenarios, schedule, clock and verdict; we answer. Never edits what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import EndpointError
from harness.held import temporary
from harness.load.loops import asked
from harness.load.requests import PAUSE_S, Batches, Client, Clock, Request
from harness.load.scenarios import Load, MultiStream, Offline, Server, SingleStream

SPARE = 2.0
"""Offline's one query is made for a model so many times as fast as known, so that it lasts as long as it must."""

STREAM_SPARE = 5.0
"""The same of streams, whose queries are prepared too: one that runs out of them ends too early."""

NS, MS = 1e9, 1e3

_SAMPLE = re.compile(r'"name":"Sample".*"ph":"b".*"ts":([\d.]+),.*"sample_seq":(\d+),.*"issue_start_ns":(\d+)')


@dataclass(frozen=True)
class Pace:
    """What is known of a model before LoadGen starts.

    Attributes:
        seconds: of a request of one image.
        images_per_s: in batches, as many requests in flight as Offline keeps.
    """

    seconds: float
    images_per_s: float


@dataclass(frozen=True)
class Driven:
    """What LoadGen made of a model.

    Attributes:
        requests: in the order in which it issued them.
        verdict: ``VALID`` or ``INVALID``, the constraints that do not hold, and its figure of the scenario.
    """

    requests: list[Request]
    verdict: str


@dataclass
class _Sut:
    """The system under test: answers queries in the way that the scenario asks for."""

    loadgen: ModuleType
    scenario: Load
    client: Client
    batches: Batches
    concurrency: int
    clock: Clock
    requests: list[Request] = field(default_factory=list)
    broken: BaseException | None = None

    def issue(self, samples: Sequence[Any]) -> None:
        """Take a query. Nothing may leave it: LoadGen's own code would be unwound."""
        try:
            if isinstance(self.scenario, Server):
                for sample in samples:
                    self._begin(sample)
            elif isinstance(self.scenario, Offline):
                self._offline(samples)
            else:
                self.requests += self._ask(samples)
        except BaseException as error:
            self.broken = self.broken or error

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def _ask(self, samples: Sequence[Any]) -> Iterator[Request]:
        """Yield the answered request of some samples; after what broke one, samples are completed and not asked."""
        try:
            if self.broken is not None:
                time.sleep(PAUSE_S)
                return
            request = asked(self.client, [sample.index for sample in samples], self.clock)
        finally:
            self._complete(samples)
        yield request
        if isinstance(request.answer, EndpointError):
            time.sleep(PAUSE_S)

    def _begin(self, sample: Any) -> None:
        if self.broken is not None:
            self._complete([sample])
            return
        now = self.clock()
        request = _Watched([sample.index], now, now, closed=lambda: self._complete([sample]))
        self.requests.append(request)
        try:
            self.client.begin(request)
        except BaseException:
            if request.answer is None:
                self._complete([sample])
            raise

    def _offline(self, samples: Sequence[Any]) -> None:
        start, size = self.clock(), self.batches.size
        chunks = [samples[first : first + size] for first in range(0, len(samples), size)]
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="load") as pool:
            futures = [pool.submit(lambda chunk: list(self._ask(chunk)), chunk) for chunk in chunks]
            try:  # every future runs, for LoadGen waits for every sample
                for future in futures:
                    self.requests += [replace(request, scheduled=start) for request in future.result()]
            except BaseException as error:
                self.broken = error

    def _complete(self, samples: Sequence[Any]) -> None:
        self.loadgen.QuerySamplesComplete([self.loadgen.QuerySampleResponse(item.id, 0, 0) for item in samples])


@dataclass(slots=True)
class _Watched(Request):
    """A request that tells when it is closed."""

    closed: Callable[[], None] = lambda: None

    def close(self, answer: Any, now: float) -> None:
        """Keep what came of it, and tell."""
        Request.close(self, answer, now)
        self.closed()


def drive(
    loadgen: ModuleType,
    scenario: Load,
    client: Client,
    batches: Batches,
    seconds: float,
    concurrency: int,
    pace: Pace,
    seed: int,
    clock: Clock = time.perf_counter,
) -> Driven:
    """Run one scenario in performance mode.

    Args:
        loadgen: the module ``mlperf_loadgen``; it holds state of its own, so that one scenario runs at a time.
        scenario: one of :data:`harness.load.scenarios.SCENARIOS`.
        client, batches: what is asked, about what; Offline sends ``batches.size`` images a request.
        seconds: at least so long.
        concurrency: requests that Offline keeps in flight.
        pace: what is expected.
        seed: of LoadGen's three generators.
        clock: seconds.

    Raises:
        BaseException: what broke a request and is no EndpointError; an interrupt, say.
    """
    sut = _Sut(loadgen, scenario, client, batches, concurrency, clock)
    settings = _settings(loadgen, scenario, seconds, pace, seed)
    with temporary("discern-loadgen-") as folder:
        logs = loadgen.LogSettings()
        logs.log_output.outdir = str(folder)
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = isinstance(scenario, Server)
        library = loadgen.ConstructQSL(batches.count, batches.count, lambda _: None, lambda _: None)
        system = loadgen.ConstructSUT(sut.issue, sut.flush)
        try:
            loadgen.StartTestWithLogSettings(system, library, settings, logs, str(folder / "audit.config"))
        finally:
            loadgen.DestroySUT(system)
            loadgen.DestroyQSL(library)
        if sut.broken is not None:
            raise sut.broken
        if isinstance(scenario, Server):
            _schedule_as(_issued(folder / "mlperf_log_trace.json"), sut.requests)
        summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    return Driven(sut.requests, read_verdict(summary))


def _settings(loadgen: ModuleType, scenario: Load, seconds: float, pace: Pace, seed: int) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario.name)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(seconds * MS)
    settings.min_query_count = 1
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = seed
    match scenario:
        case SingleStream():
            settings.single_stream_expected_latency_ns = _told(pace.seconds)
        case MultiStream():
            settings.multi_stream_samples_per_query = scenario.samples_per_query
            settings.multi_stream_expected_latency_ns = _told(scenario.samples_per_query / pace.images_per_s)
        case Server():
            settings.server_target_qps = scenario.target_qps
            settings.server_target_latency_ns = round(scenario.target_latency_ms / MS * NS)
            settings.server_target_latency_percentile = scenario.percentile / 100
        case Offline():
            settings.offline_expected_qps = SPARE * pace.images_per_s
    return settings


def _told(seconds: float) -> int:
    """Return what LoadGen is told to expect of a query, in ns: less than is known, for it prepares as many queries."""
    return max(1, round(seconds / STREAM_SPARE * NS))


def _issued(trace: Path) -> Iterator[tuple[int, float, float]]:
    """Yield each query's number, and the seconds when it was due and issued, from LoadGen's trace: no valid JSON."""
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if (match := _SAMPLE.search(line)) is not None:
                due = float(match[1]) / 1e6
                yield int(match[2]), due, due + int(match[3]) / NS


def _schedule_as(issued: Iterable[tuple[int, float, float]], requests: Sequence[Request]) -> None:
    """Lay LoadGen's schedule over the requests: the clocks meet where a query came to us soonest after its issue."""
    told = [(requests[number], due, at) for number, due, at in issued]
    offset = min((request.sent - at for request, _, at in told), default=0.0)
    for request, due, _ in told:
        request.scheduled = due + offset


def read_verdict(summary: str) -> str:
    """Return the verdict of LoadGen's summary, what does not hold, and its figure, in one line."""
    lines = [line.strip() for line in summary.splitlines()]
    place = next(number for number, line in enumerate(lines) if line.startswith("Result is"))
    verdict = lines[place].rpartition(":")[2].strip()
    broken = [line.partition(":")[0].strip() for line in lines if re.search(r"(satisfied)\s*:\s*NO$", line)]
    missed = f" ({', '.join(broken)}: no)" if broken else ""
    return f"{verdict}{missed}; {' '.join(lines[place - 1].split())}"
