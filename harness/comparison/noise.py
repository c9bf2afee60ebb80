"""How much times differ between two runs of the same on one machine: what A/A comparisons taught, kept as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Annotated

from pydantic import Field, ValidationError

from harness.errors import StoreError, problem
from harness.frozen import Frozen
from harness.store.files import write_atomic

ASSUMED = 0.03
"""Standard deviation of a run's log latency, beyond what its repeats tell, on a machine of which nothing is known."""

WEIGHT = 3
"""How many A/A comparisons that assumption counts as."""

MOST = 50.0
"""Bound of a log ratio: no two times are further apart."""

FACTS = ("system", "processor", "cores")
"""Of what a run ran on, what makes a machine: versions may change, and are what one wants to compare."""


class Aa(Frozen):
    """One time of two runs of the same.

    Attributes:
        runs: their ids.
        place: where it was taken.
        figure: which percentile.
        log_ratio: logarithm of the second over the first.
        variance: of it, as the repeats within the two runs let expect.
    """

    runs: tuple[str, str]
    place: str
    figure: str
    log_ratio: Annotated[float, Field(ge=-MOST, le=MOST)]
    variance: Annotated[float, Field(ge=0, le=MOST**2)]


class Noise(Frozen):
    """The noise model of one machine.

    Attributes:
        machine: its facts.
        seen: times of runs of the same.
    """

    machine: dict[str, str] = {}
    seen: tuple[Aa, ...] = ()

    def between(self, figure: str) -> tuple[float, float]:
        """Return the variance of a run's log time beyond what its repeats tell, and its degrees of freedom.

        The mean of what A/A comparisons show beyond their own variance, halved, for both runs had it; the assumption
        counts as WEIGHT further comparisons. All loads of two runs share what moved these runs: their mean is one
        comparison.
        """
        pairs: dict[tuple[str, ...], list[float]] = {}
        for item in self.seen:
            if item.figure == figure:
                beyond = (item.log_ratio**2 - item.variance) / 2
                pairs.setdefault(tuple(sorted(item.runs)), []).append(beyond)
        count = WEIGHT + len(pairs)
        return max(0.0, WEIGHT * ASSUMED**2 + sum(map(fmean, pairs.values()))) / count, float(count)

    def taught(self, more: Iterable[Aa]) -> Noise:
        """Return the model with further A/A comparisons; those of the same runs, place and figure are replaced."""
        known = {(*sorted(item.runs), item.place, item.figure): item for item in (*self.seen, *more)}
        return self.model_copy(update={"seen": tuple(known.values())})


def machine_of(environment: Mapping[str, str]) -> str:
    """Return the id of the machine that a run's environment tells of: a digest of its hardware and system."""
    said = json.dumps([environment.get(fact) for fact in FACTS])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def noise_file(out: Path, environment: Mapping[str, str]) -> Path:
    """Return where a machine's noise model is kept, below the folder of runs."""
    return out / "noise" / f"{machine_of(environment)}.json"


def read_noise(out: Path, environment: Mapping[str, str]) -> Noise:
    """Return a machine's noise model; an empty one where nothing is known.

    Raises:
        StoreError: its file can't be read.
    """
    path = noise_file(out, environment)
    try:
        return Noise.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Noise(machine={fact: str(environment.get(fact, "unknown")) for fact in FACTS})
    except (OSError, ValidationError) as error:
        do = "Delete it, and teach it again: harness compare A B --aa"
        raise StoreError(problem(str(path), "a readable noise model", type(error).__name__, do)) from error


def write_noise(out: Path, environment: Mapping[str, str], noise: Noise) -> Path:
    """Write a machine's noise model and return its path. Raises StoreError where the disk refuses."""
    path = noise_file(out, environment)
    write_atomic(path, (noise.model_dump_json(indent=1) + "\n").encode())
    return path
