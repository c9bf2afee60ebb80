"""From a training file to banks of fingerprints: images chosen and checked, trainings resumed, banks entered."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from export.fingerprints import dif_built
from export.residual_filters import load_filter
from export.training.dif import Fingerprint, FingerprintTraining, Look, train_fingerprint
from export.training.entries import card_there, enter_trained
from export.training.jobs import Images, check_once, choose, content, generators_of
from export.training.residuals import Filter, ResidualFile
from export.training.result import Trained, line, sparkline
from export.training.spec import FingerprintSpec, Training
from export.training.states import checkpoint_state, save_state
from harness.card import HEAD_PATTERN
from harness.data.sample import Dataset
from harness.environment import revision
from harness.errors import DataError, problem
from harness.events import Events
from harness.fingerprints.bank import BANK_FILE, BANK_KEY, Bank
from harness.report.plot import plot
from harness.report.style import alone
from harness.report.tree import Curves
from harness.store.files import write_atomic

RECIPE = {"size", "base", "steps", "batch", "margin", "lr", "patience"}
"""What of a spec decides how a fingerprint is trained on its residuals."""

Done = dict[str, tuple[Fingerprint, list[Look]]]
"""Fingerprints that are trained, and the looks on their way, by generator."""


@dataclass(frozen=True)
class BankJob:
    """One bank to train.

    Attributes:
        name: of its entry.
        spec: what the file says.
        seed: of everything drawn.
        filter: its residual filter.
        parts: training and validation images by generator; no image is in both, or in the split that suites test.
        key: digest of everything that its fingerprints follow from.
    """

    name: str
    spec: FingerprintSpec
    seed: int
    filter: Filter
    parts: Mapping[str, tuple[Images, Images]]
    key: str

    def images(self) -> list[Images]:
        """Return all that is trained on or validated with."""
        return [images for part in self.parts.values() for images in part]


def make_bank_jobs(training: Training, datasets: Mapping[str, Dataset], here: Path) -> list[BankJob]:
    """Return a file's banks, in its order.

    Args:
        training: the file.
        datasets: its data sets, open.
        here: folder that a filter's weights are looked for in.

    Raises:
        CardError: two banks of one name.
        CheckpointError: a filter that can't be used.
        DataError: a generator that is not there, a class without images, an image on both sides, or one that is
            smaller than the fingerprint.
    """
    jobs = []
    for spec in training.fingerprints:
        data, filter = datasets[spec.data], Filter.of(spec.filter, here)
        generators = generators_of(spec, data)
        _check_names(data, generators)
        for samples, seed in ((samples, seed) for samples in spec.samples for seed in spec.seed):
            parts = {name: choose(spec, data, (name,), seed, samples) for name in generators}
            for images in (images for part in parts.values() for images in part):
                _check_size(images, spec.size)
            said = {
                "recipe": spec.model_dump(mode="json", include=RECIPE),
                "filter": filter.sha256,
                "images": {name: [images.digest for images in part] for name, part in parts.items()},
                "seed": seed,
            }
            key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
            tag = spec.tag.replace("{samples}", str(samples or "all")).replace("{seed}", str(seed))
            jobs.append(BankJob(f"dif.{tag}", spec, seed, filter, parts, key))
    check_once("fingerprints", [job.name for job in jobs])
    return jobs


def residual_files(jobs: Sequence[BankJob], folder: Path) -> dict[str, ResidualFile]:
    """Return the file of residuals of each job by its name; jobs of one data set, filter and size share one."""
    shared: dict[tuple[str, str, int], list[BankJob]] = {}
    for job in jobs:
        shared.setdefault((job.spec.data, job.filter.sha256, job.spec.size), []).append(job)
    files: dict[str, ResidualFile] = {}
    for (_, _, size), group in shared.items():
        file = ResidualFile(folder, group[0].filter, size, (images for job in group for images in job.images()))
        files.update(dict.fromkeys((job.name for job in group), file))
    return files


def train_bank(
    job: BankJob,
    residuals: ResidualFile,
    folder: Path,
    device: torch.device,
    events: Events,
    *,
    words: str,
    every_minutes: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train a bank into its folder, from its checkpoint where there is one: bank, history, curve, at last its result.

    Killed at any moment and started again, it ends with the same bank: to the bit on the same machine and number of
    threads, on a processor.

    Args:
        job: what to train.
        residuals: of its images; made here unless they are there.
        folder: where everything goes.
        device: where filter and U-Nets run.
        events: receives progress.
        words: what is being done, for a line of progress.
        every_minutes: between checkpoints.
        clock: seconds.

    Raises:
        CheckpointError: a checkpoint that can't be read.
        DataError: an image that can't be decoded.
        DivergedError: a fingerprint whose correlations are no numbers any more.
    """
    code = revision()
    checkpoint = folder / "checkpoint.pt"
    done, state, earlier = _load(checkpoint)
    events.begin(f"{words}: residuals", len(residuals.rows), "images")
    try:
        residuals.make(device, events.advance)
    finally:
        events.end()
    total = job.spec.steps * len(job.parts)
    started = saved = clock()
    events.begin(words, total, "steps")

    def spent() -> float:
        return earlier + clock() - started

    def report(training: FingerprintTraining, generator: str) -> None:
        nonlocal saved
        look = training.looks[-1] if training.looks else None
        figures = f": val AUROC {look.auroc:.3f}, loss {look.loss:.3f}" if look else ""
        events.advance(len(done) * job.spec.steps + training.step, total, generator + figures)
        if clock() - saved > 60 * every_minutes:
            saved = clock()
            _save(checkpoint, done, training.state(), spent())

    try:
        for generator, (train, validation) in job.parts.items():
            if generator in done:
                continue
            training = FingerprintTraining(
                job.spec, job.seed, residuals.classes(train), residuals.classes(validation), device
            )
            if state is not None:
                training.resume(state)
                state = None
            found = train_fingerprint(training, lambda training, name=generator: report(training, name))  # type: ignore[misc]
            done[generator] = found, training.looks
            _save(checkpoint, done, None, spent())
    finally:
        events.end()
    _write(job, done, folder, spent(), code)
    checkpoint.unlink()


def enter_bank(job: BankJob, training: Training, found: Trained, repository: Path, events: Events) -> None:
    """Export a trained bank into the repository, unless the same bank is there already.

    Raises:
        ParityError: the export does not answer as the bank does.
    """
    stored = (found.folder / BANK_FILE).read_bytes()
    card = card_there(repository, job.name)
    if card is not None and card.training.get(BANK_KEY) == hashlib.sha256(stored).hexdigest():
        return
    trained = [train for train, _ in job.parts.values()]
    history = pd.read_csv(found.folder / "history.csv")
    reached = history.groupby("generator")["auroc"].max()
    built = dif_built(
        job.name,
        stored,
        load_filter(job.filter.source),
        summary=f"Deep image fingerprints of {', '.join(job.parts)} over "
        + ("a bilateral residual" if job.spec.filter == "bilateral" else "a DnCNN residual"),
        licence=training.licence,
        source="Sinitsa and Fried, Deep Image Fingerprint, WACV 2024; trained by this project",
        training={
            "filter_sha256": job.filter.sha256,
            "data_sha256": hashlib.sha256("".join(images.digest for images in trained).encode()).hexdigest(),
            "images": min(map(len, trained)),
            "contents": len({content(images[place]) for images in trained for place in range(len(images))}),
            "validation_images": min(len(validation) for _, validation in job.parts.values()),
            "validation_auroc": round(found.auroc, 4),
            "validation_balanced_accuracy": round(found.balanced_accuracy, 4),
            **{f"validation_auroc@{name}": round(float(reached[name]), 4) for name in job.parts},
            "steps": found.steps,
            "seed": job.seed,
            "recipe": job.spec.model_dump_json(include=RECIPE),
            "revision": found.revision,
            "data": training.called(job.spec.data),
        },
        claims={},
    )
    enter_trained(built, training, repository, events)


def _check_names(data: Dataset, generators: Sequence[str]) -> None:
    """Raise DataError where a generator can't name a fingerprint."""
    for name in generators:
        if not re.fullmatch(HEAD_PATTERN, name):
            do = "Rename its folder: lower case letters, digits, dot, dash and underscore"
            raise DataError(problem(f"{data.name}: generators", "names that a card can hold", repr(name), do))


def _check_size(images: Images, size: int) -> None:
    """Refuse images that a fingerprint does not fit into.

    Raises:
        DataError: with the first of them.
    """
    widths, heights = (images.rows[name].to_numpy() for name in ("width", "height"))
    small = np.flatnonzero(np.minimum(widths, heights) < size)
    if len(small):
        first = images[int(small[0])]
        what = f"{images.data.name}: {first.path}"
        got = f"{first.width} x {first.height}, as {len(small) - 1:,} others" if len(small) > 1 else ""
        got = got or f"{first.width} x {first.height}"
        do = "Lower the fingerprints' size, or remove small images"
        raise DataError(problem(what, f"at least {size} pixels a side, as the fingerprint has", got, do))


def _save(path: Path, done: Done, state: dict[str, Any] | None, seconds: float) -> None:
    """Write where a bank stands, whole or not at all."""
    said = {
        name: {"fingerprint": item.state(), "looks": [asdict(look) for look in looks]}
        for name, (item, looks) in done.items()
    }
    save_state(path, {"done": said, "state": state, "seconds": seconds})


def _load(path: Path) -> tuple[Done, dict[str, Any] | None, float]:
    """Return the fingerprints that are done, the state of the one that is not, and the seconds that all of it took.

    Raises:
        CheckpointError: it can't be read.
    """
    if not path.is_file():
        return {}, None, 0.0
    with checkpoint_state(path) as said:
        done = {
            name: (Fingerprint.of(item["fingerprint"]), [Look(**look) for look in item["looks"]])
            for name, item in said["done"].items()
        }
        return done, said["state"], said["seconds"]


def _write(job: BankJob, done: Done, folder: Path, seconds: float, code: str) -> None:
    found = [done[name][0] for name in job.parts]
    Bank(
        names=tuple(job.parts),
        fingerprints=np.stack([item.pattern.numpy() for item in found]),
        mu_real=np.array([item.mu_real for item in found], np.float32),
        mu_fake=np.array([item.mu_fake for item in found], np.float32),
    ).save(folder / BANK_FILE)
    rows = [{"generator": name, **asdict(look)} for name in job.parts for look in done[name][1]]
    write_atomic(folder / "history.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    write_atomic(folder / "curve.svg", alone(plot(_curve(job.name, done))).encode())
    lengths = range(max(len(looks) for _, looks in done.values()))
    losses = [np.mean([looks[i].loss for _, looks in done.values() if i < len(looks)]) for i in lengths]
    Trained(
        name=job.name,
        folder=folder,
        auroc=float(np.mean([item.look.auroc for item in found])),
        balanced_accuracy=float(np.mean([item.look.balanced_accuracy for item in found])),
        threshold=0.0,
        steps=sum(item.look.step for item in found),
        seconds=seconds,
        waited=0.0,
        revision=code,
        curve=sparkline([float(loss) for loss in losses]),
    ).save()


def _curve(name: str, done: Done) -> Curves:
    steps = sorted({look.step for _, looks in done.values() for look in looks})
    series = {}
    for generator, (_, looks) in done.items():
        reached = {look.step: look.auroc for look in looks}
        series[generator] = line([reached.get(step, math.nan) for step in steps])
    return Curves("curve", name, tuple(map(str, steps)), series, "validation AUROC", "step")
