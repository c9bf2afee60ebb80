"""The confound audit: could the labels be told from formats, qualities and sizes alone? Looks at no pixel."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.sample import FAKE, Sample, reals_for
from harness.metrics.binary import auroc
from harness.stats import Estimate, bootstrap_interval
from harness.stats.bootstrap import bootstrap

SUSPECT = 0.6
"""A baseline confounds a generator where the lower end of its AUROC's 95 % interval is above this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """What the files of one subset look like.

    Attributes:
        subset, label: which.
        images: how many.
        formats: share of each sniffed container, most common first.
        jpeg_quality: median and quartiles of the JPEGs; None without any.
        size: most common width x height, and its share.
        bytes: median file size.
    """

    subset: str
    label: int
    images: int
    formats: Mapping[str, float]
    jpeg_quality: tuple[float, float, float] | None
    size: tuple[str, float]
    bytes: int


@dataclass(frozen=True)
class Baseline:
    """A detector that reads no pixel, on one generator against its reals.

    Attributes:
        name: what it reads.
        generator: which.
        auroc: oriented the better way round, which only an oracle could; nan where one class is missing.
    """

    name: str
    generator: str
    auroc: Estimate


@dataclass(frozen=True)
class Finding:
    """The verdict on one generator: ``confounded``, ``clean`` or ``untestable``, and why."""

    generator: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """All of it."""

    profiles: Sequence[Profile]
    baselines: Sequence[Baseline]
    findings: Sequence[Finding]

    def means(self) -> dict[str, Estimate]:
        """Return each baseline's mean AUROC over the generators that can be tested, without an interval."""
        return {
            name: Estimate.bare(float(np.mean(values)) if values else math.nan, sum(images))
            for name in BASELINES
            for values, images in [self._of(name)]
        }

    def _of(self, name: str) -> tuple[list[float], list[int]]:
        rows = [row.auroc for row in self.baselines if row.name == name and not math.isnan(row.auroc.value)]
        return [row.value for row in rows], [row.n for row in rows]


class Collector:
    """Gathers one subset's headers in a few numbers an image."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        rows = (
            (item.format == "jpeg", item.bytes, item.width * item.height, item.jpeg_quality or 0, _code(item.source))
            for item in samples
        )
        table = np.fromiter(rows, np.dtype((np.float64, 5)))
        self.jpeg, self.bytes, self.pixels, self.quality, self.source = table.T


BASELINES: dict[str, Callable[[Collector], Floats]] = {
    "is it a JPEG?": lambda item: item.jpeg,
    "file size": lambda item: item.bytes,
    "image size": lambda item: item.pixels,
    "JPEG quality": lambda item: item.quality,
}
"""Scores that need no pixels, by name."""


def audit(
    samples: Mapping[str, Sequence[Sample]] | Mapping[str, Iterable[Sample]],
    labels: Mapping[str, int],
    generators: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Audit:
    """Hold formats, qualities and sizes against the labels.

    Args:
        samples: the tested images of every subset, streamed once.
        labels: label of every subset.
        generators: the fake subsets that are tested.
        resamples: bootstrap resamples, clustered by source.
        seed: of the resampling.
    """
    profiles, collected, counts = [], {}, {}
    for subset, items in samples.items():
        seen = counts[subset] = _Counts()
        collected[subset] = Collector(seen.watch(items))
        profiles.append(seen.profile(subset, labels[subset], collected[subset]))
    reals = {subset for subset, label in labels.items() if label != FAKE}
    baselines: list[Baseline] = []
    findings: list[Finding] = []
    for generator in generators:
        against = reals_for(generator, reals)
        own = [collected[name] for name in against]
        rows = [
            Baseline(
                name,
                generator,
                _auroc(
                    [read(item) for item in own], read(collected[generator]), own, collected[generator], resamples, seed
                ),
            )
            for name, read in BASELINES.items()
        ]
        baselines += rows
        sides = [
            (sum((counts[name] for name in names), _Counts()), [collected[name] for name in names])
            for names in ([generator], against)
        ]
        findings.append(_finding(generator, rows, *sides))
    return Audit(profiles, baselines, findings)


def _auroc(
    reals: Sequence[Floats], fakes: Floats, own: Sequence[Collector], fake: Collector, resamples: int, seed: int
) -> Estimate:
    real = np.concatenate([*reals, np.zeros(0)])
    if not len(real) or not len(fakes):
        return Estimate.bare(math.nan, len(real) + len(fakes))
    scores = np.concatenate([real, fakes])
    labels = np.repeat([0, 1], [len(real), len(fakes)])
    sources = np.concatenate([*(item.source for item in own), fake.source])
    value = float(auroc(scores, labels))
    sign = 1.0 if value >= 0.5 else -1.0
    draws = bootstrap(lambda w: auroc(sign * scores, labels, w), sources, resamples, seed)
    return Estimate.of(max(value, 1 - value), bootstrap_interval(draws), len(scores))


def _finding(generator: str, rows: Sequence[Baseline], fake: _Side, real: _Side) -> Finding:
    if math.isnan(rows[0].auroc.value):
        return Finding(generator, "untestable", "one class has no images")
    guilty = [row for row in rows if row.auroc.low > SUSPECT]
    if not guilty:
        return Finding(generator, "clean", f"no baseline's interval lies above {SUSPECT}")
    worst = max(guilty, key=lambda row: row.auroc.value)
    facts = f"fakes {_words(worst.name, *fake)}, reals {_words(worst.name, *real)}"
    return Finding(generator, "confounded", f"{worst.name} AUROC {worst.auroc.value:.2f}: {facts}")


def _words(baseline: str, seen: _Counts, collected: Sequence[Collector]) -> str:
    """Describe images in the terms of a baseline, in a few words."""
    if baseline == "image size":
        ((width, height), count) = seen.sizes.most_common(1)[0]
        return f"{count / seen.sizes.total():.0%} {width} x {height}"
    if baseline == "file size":
        return f"{np.median(np.concatenate([item.bytes for item in collected])) / 1e3:.3g} kB"
    formats = ", ".join(f"{count / seen.formats.total():.0%} {name}" for name, count in seen.formats.most_common(2))
    quality = np.concatenate([item.quality for item in collected])
    if baseline == "JPEG quality" and (quality > 0).any():
        share = seen.formats["jpeg"] / seen.formats.total()
        return f"{share:.0%} jpeg of quality {np.median(quality[quality > 0]):.0f}"
    return formats


class _Counts:
    """Counts formats and sizes while samples pass by."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()

    def __add__(self, other: _Counts) -> _Counts:
        total = _Counts()
        total.formats, total.sizes = self.formats + other.formats, self.sizes + other.sizes
        return total

    def watch(self, items: Iterable[Sample]) -> Iterable[Sample]:
        for item in items:
            self.formats[item.format] += 1
            self.sizes[item.width, item.height] += 1
            yield item

    def profile(self, subset: str, label: int, collected: Collector) -> Profile:
        images = sum(self.formats.values())
        quality = collected.quality[collected.quality > 0]
        (size, count) = self.sizes.most_common(1)[0] if self.sizes else ((0, 0), 0)
        return Profile(
            subset=subset,
            label=label,
            images=images,
            formats={name: count / images for name, count in self.formats.most_common()},
            jpeg_quality=tuple(np.quantile(quality, [0.25, 0.5, 0.75]).tolist()) if len(quality) else None,
            size=(f"{size[0]} x {size[1]}", count / images if images else 0.0),
            bytes=int(np.median(collected.bytes)) if images else 0,
        )


_Side = tuple[_Counts, list[Collector]]
"""What is known of the fakes, or of all the reals that they are held against."""


def _code(source: str) -> float:
    """Return a number that stands for a source: 48 bits of a hash, so that a million fit in flat arrays."""
    return float(int.from_bytes(hashlib.blake2b(source.encode(), digest_size=6).digest(), "little"))
