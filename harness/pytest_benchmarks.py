"""Files of pytest-benchmark: medians read as figures of a gate, a run's times written for its tools. Times nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from harness.baselines import Side
from harness.comparison.change import Change, Place
from harness.comparison.group import Asked
from harness.comparison.latency import LOAD, read_times, time_change, timed_loads
from harness.comparison.noise import Noise
from harness.errors import DataError, problem
from harness.stats.repeats import Repeated

NAME = "pytest-benchmark"
"""The task under which its figures stand, and the file's name in a baseline, with ``.json`` behind it."""

KEPT = f"{NAME}.json"

LONGEST = 1e9
"""Seconds that no benchmark takes."""

_DEVIATION = 1.349
"""Distance of a normal distribution's quartiles in standard deviations."""

_MEDIAN = math.pi / 2
"""Variance of a large normal sample's median over that of its mean."""


class _Loose(BaseModel):
    """A value of another tool's file, which may hold more than is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Stats(_Loose):
    """Seconds of one benchmark: median and distance of the quartiles over its rounds."""

    median: Annotated[PositiveFloat, Field(lt=LONGEST)]
    iqr: Annotated[NonNegativeFloat, Field(lt=LONGEST)]
    rounds: PositiveInt


class Benchmark(_Loose):
    """One benchmark by its full name."""

    fullname: str
    stats: Stats


class Benchmarks(_Loose):
    """What one file holds.

    Attributes:
        benchmarks: all that ran.
        machine_info: what it ran on.
    """

    benchmarks: tuple[Benchmark, ...] = Field(min_length=1)
    machine_info: dict[str, Any] = {}

    @property
    def machine(self) -> tuple[str, ...]:
        """What makes its machine."""
        said = self.machine_info.get("cpu")
        cpu = said if isinstance(said, dict) else {}
        facts = (
            self.machine_info.get("system"),
            self.machine_info.get("machine"),
            cpu.get("brand_raw"),
            cpu.get("count"),
        )
        return tuple(map(str, facts))


def read_benchmarks(path: Path) -> Benchmarks:
    """Read a file that ``pytest --benchmark-json FILE`` wrote.

    Raises:
        DataError: it is none, or holds no benchmark.
    """
    try:
        return Benchmarks.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        do = "Write it: pytest --benchmark-json FILE; keep it: harness baseline RUN --to DIR --pytest-benchmark FILE"
        raise DataError(problem(str(path), "a file of pytest-benchmark", "none", do)) from error
    except (OSError, ValidationError) as error:
        got = str(error).partition("\n")[0]
        raise DataError(
            problem(str(path), "a file of pytest-benchmark", got, "Write it: pytest --benchmark-json FILE")
        ) from error


def benchmark_changes(before: Benchmarks, after: Benchmarks, noise: Noise) -> Iterator[Change]:
    """Yield the changes of medians of benchmarks that both files hold; of two machines, shown and not tested."""
    old = {item.fullname: item.stats for item in before.benchmarks}
    for item in after.benchmarks:
        if item.fullname in old:
            place = Place(NAME, item.fullname, "")
            figures = _median(old[item.fullname]), _median(item.stats)
            yield time_change(place, "median", *figures, noise, before.machine == after.machine)


def missing_benchmarks(before: Benchmarks, after: Benchmarks) -> list[Place]:
    """Return the benchmarks that the first file alone holds."""
    kept = {item.fullname for item in after.benchmarks}
    return [Place(NAME, item.fullname, "") for item in before.benchmarks if item.fullname not in kept]


def dump_benchmarks(side: Side, revision: str) -> str:
    """Return a run's times in pytest-benchmark's layout, one benchmark a model and load.

    Args:
        side: the run.
        revision: of the code.
    """
    benchmarks: list[dict[str, object]] = []
    for task, spec in side.tasks.items():
        for asked in (Asked(side, task, model) for model in side.models(task) if spec["kind"] == LOAD):
            for name, key in timed_loads(asked).items():
                place = Place(task, asked.model, name)
                seconds = read_times(asked, name, key).seconds
                if seconds.size:
                    told = {"group": task, "name": f"{asked.model}[{name}]", "fullname": str(place)}
                    fixed: dict[str, object] = {"params": None, "param": None, "extra_info": {}, "options": {}}
                    benchmarks.append({**told, **fixed, "stats": _stats(seconds)})
    document = {
        "machine_info": dict(side.info.environment),
        "commit_info": {"id": revision},
        "benchmarks": benchmarks,
        "datetime": side.info.started,
        "version": "5.1.0",
    }
    return json.dumps(document, indent=1) + "\n"


def _stats(seconds: NDArray[np.float64]) -> dict[str, float | int | str]:
    """Return the statistics of (n,) seconds that pytest-benchmark keeps; whiskers reach 1.5 quartile distances."""
    low, middle, high = (float(value) for value in np.percentile(seconds, (25, 50, 75)))
    mean, spread = float(seconds.mean()), float(seconds.std(ddof=1)) if seconds.size > 1 else 0.0
    reach = 1.5 * (high - low)
    inside = seconds[(seconds >= low - reach) & (seconds <= high + reach)]
    mild = int(np.count_nonzero(np.abs(seconds - mean) > spread))
    return {
        "min": float(seconds.min()),
        "max": float(seconds.max()),
        "mean": mean,
        "stddev": spread,
        "rounds": int(seconds.size),
        "iterations": 1,
        "total": float(seconds.sum()),
        "ops": 1 / mean,
        "median": middle,
        "q1": low,
        "q3": high,
        "iqr": high - low,
        "ld15iqr": float(inside.min()),
        "hd15iqr": float(inside.max()),
        "iqr_outliers": seconds.size - inside.size,
        "stddev_outliers": mild,
        "outliers": f"{mild};{seconds.size - inside.size}",
    }


def _median(stats: Stats) -> Repeated:
    deviation = stats.iqr / _DEVIATION / stats.median
    variance = _MEDIAN * deviation**2 / stats.rounds
    return Repeated(math.log(stats.median), variance, max(1.0, stats.rounds - 1.0), math.nan, deviation, stats.rounds)
