"""A training file, start to end: jobs, trainings, entries. The order of things, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from export.checkpoints import read_tensors
from export.detectors.export import detector_built
from export.onnx import file_sha256
from export.training.attribution import train_attributor
from export.training.attribution_jobs import AttributionJob, make_attribution_jobs
from export.training.entries import card_there, enter_trained
from export.training.feed import KEPT_BYTES, decoded_bytes
from export.training.fingerprints import BankJob, enter_bank, make_bank_jobs, residual_files, train_bank
from export.training.jobs import Job, content, make_jobs
from export.training.loop import Fitted, Progress, fit
from export.training.result import RESULT, Result, Trained, line, sparkline
from export.training.spec import Training
from export.training.states import save_state
from harness.data import open_dataset
from harness.data.sample import Dataset
from harness.environment import revision
from harness.errors import CheckpointError, DivergedError, HarnessError, ParityError, SuiteError, problem
from harness.events import Events, Silent
from harness.names import matching
from harness.report.plot import plot
from harness.report.style import alone
from harness.report.tree import Curves
from harness.spec.load import load_spec
from harness.store.files import write_atomic


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        file: the training file.
        settings: ``a.b=c`` overrides.
        out: root of trainings, manifests and the miniature corpus.
        only: wildcards over the entries' names; empty: all.
        init, freeze: in place of the file's, for every detector; None: the file's.
        samples: in place of the file's, for every fingerprint whose tag says how many there are; None: the file's.
    """

    file: Path
    settings: tuple[str, ...] = ()
    out: Path = Path("reports")
    only: tuple[str, ...] = ()
    init: str | None = None
    freeze: Sequence[str] | None = None
    samples: Sequence[int] | None = None


def train(asked: Asked, events: Events) -> tuple[list[Result], list[HarnessError]]:
    """Train all that a file names, or what is left of it; what is trained already is entered again.

    Under torchrun every process trains, and the first one writes.

    Returns:
        What is trained and entered, and why the rest is not: one that diverges, or whose export does not answer as it
        does, does not keep others from it.

    Raises:
        HarnessError: whatever went wrong; what was trained so far is on disk, and the same command goes on.
    """
    training = _asked_for(load_spec(Training, asked.file, asked.settings), asked)
    fabric = _fabric(training)
    events = events if fabric.is_global_zero else Silent()
    here = asked.file.resolve().parent
    datasets: dict[str, Dataset] = {}
    if fabric.is_global_zero:
        datasets = _open(training, here, asked.out, events)
    fabric.barrier()
    datasets = datasets or _open(training, here, asked.out, events)  # built once, then found
    repository = here / training.repository
    made: list[Job | BankJob | AttributionJob] = [
        *make_jobs(training, datasets, lambda name: _digest(here / name)),
        *make_bank_jobs(training, datasets, here),
        *make_attribution_jobs(training.attributors, datasets, repository),
    ]
    chosen = set(matching(asked.only or ("*",), (job.name for job in made)))
    jobs = [job for job in made if job.name in chosen]
    banks = [job for job in jobs if isinstance(job, BankJob)]
    if fabric.world_size > 1 and any(not isinstance(job, Job) for job in jobs):
        do = "Start without torchrun, or leave them out by --only"
        raise SuiteError(problem("fingerprints and attributors", "one process", str(fabric.world_size), do))
    residuals = residual_files(banks, asked.out / "training")
    done: list[Result] = []
    failed: list[HarnessError] = []
    for number, job in enumerate(jobs, start=1):
        folder = asked.out / "training" / f"{job.name}-{job.key[:12]}"
        words = f"{number}/{len(jobs)} {job.name}"
        try:
            if isinstance(job, AttributionJob):
                done.append(
                    train_attributor(job, training, folder, asked.out, repository, fabric.device, events, words)
                )
                continue
            if not (folder / RESULT).is_file():
                if isinstance(job, BankJob):
                    minutes = training.checkpoint_minutes
                    shared = residuals[job.name]
                    train_bank(job, shared, folder, fabric.device, events, words=words, every_minutes=minutes)
                else:
                    _train(job, training, fabric, folder, here, words, events)
            fabric.barrier()
            if fabric.is_global_zero:
                found = Trained.load(folder)
                if isinstance(job, BankJob):
                    enter_bank(job, training, found, repository, events)
                else:
                    _enter(job, training, found, folder, repository, events)
                done.append(found)
        except (DivergedError, ParityError) as error:
            failed.append(error)
            events.note(str(error))
    for file in residuals.values():
        file.remove()
    return done, failed


def _asked_for(training: Training, asked: Asked) -> Training:
    changed = {"init": asked.init, "freeze": tuple(asked.freeze) if asked.freeze is not None else None}
    changed = {key: value for key, value in changed.items() if value is not None}
    detectors = tuple(item.model_copy(update=changed) for item in training.detectors)
    fingerprints = training.fingerprints
    if asked.samples is not None:
        budget = {"samples": tuple(asked.samples)}
        named = ["{samples}" in item.tag for item in fingerprints]
        if not any(named):
            do = "Write {samples} into their tag, so that each budget has an entry of its own"
            raise SuiteError(problem("--samples", "fingerprints whose tag says {samples}", "none in the file", do))
        fingerprints = tuple(
            item.model_copy(update=budget) if told else item for item, told in zip(fingerprints, named, strict=True)
        )
    return training.model_copy(update={"detectors": detectors, "fingerprints": fingerprints})


def _fabric(training: Training) -> Fabric:
    """Return the processes that torchrun started, or this one; on a GPU where there is one."""
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=training.precision,
    )
    fabric.launch()
    return fabric


def _open(training: Training, here: Path, out: Path, events: Events) -> dict[str, Dataset]:
    manifests = out / "manifests"
    return {
        name: open_dataset(name, spec, here, manifests, events, ("train", "val", "test"))
        for name, spec in training.data.items()
    }


def _digest(weights: Path) -> str:
    """Return the digest of a file of first weights.

    Raises:
        CheckpointError: it is not there.
    """
    try:
        return file_sha256(weights)
    except OSError as error:
        what, do = f"first weights {weights}", "Say scratch, imagenet, or name weights.pt of an earlier training"
        raise CheckpointError(problem(what, "a file", error.strerror or str(error), do)) from error


def _train(job: Job, training: Training, fabric: Fabric, folder: Path, here: Path, words: str, events: Events) -> None:
    """Train one detector into its folder: weights, history, curve, and last of all its result."""
    network = first_weights(job, here)
    code, batch = revision(), job.recipe.batch

    def report(progress: Progress, steps: int) -> None:
        look = progress.looks[-1] if progress.looks else None
        said = f"val AUROC {look.auroc:.3f}, loss {look.loss:.3f}" if look else ""
        events.advance(progress.step * batch, steps * batch, said)

    events.begin(words, len(job.train) * job.recipe.epochs, "images")
    workers = training.workers
    if workers is None:
        small = decoded_bytes(job.train) <= KEPT_BYTES
        workers = 0 if small else max(1, (os.cpu_count() or 2) // fabric.world_size)
    try:
        found = fit(
            job,
            network,
            fabric,
            folder / "checkpoint.pt",
            workers=workers,
            accumulate=training.accumulate,
            every_minutes=training.checkpoint_minutes,
            report=report,
        )
    finally:
        events.end()
    if fabric.is_global_zero:
        _write(found, folder, job.name, code)


def first_weights(job: Job, here: Path) -> nn.Module:
    """Return a job's network before its training.

    Args:
        job: says what it starts from.
        here: folder that a file of weights is looked for in.

    Raises:
        CheckpointError: a file that does not hold this network's weights.
    """
    spec = job.spec
    torch.manual_seed(job.seed)
    possible = job.architecture.pretrained and spec.scale == "full"
    if spec.init == "imagenet" and not possible:
        what, got = f"first weights of {job.name}", f"imagenet, for a {spec.scale} {job.architecture.name}"
        raise CheckpointError(problem(what, "scratch or a file", got, "Leave init out"))
    pretrained = possible and spec.init in ("", "imagenet")
    network = job.architecture.build(spec.scale, pretrained)
    if spec.init not in ("", "scratch", "imagenet"):
        path = here / spec.init
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            what = f"first weights {spec.init} of {job.name}"
            raise CheckpointError(
                problem(what, "a state of this network", str(error)[:200], "Name weights.pt of an earlier training")
            ) from error
    return network


def _write(found: Fitted, folder: Path, name: str, code: str) -> None:
    history = pd.DataFrame([asdict(look) for look in found.looks])
    write_atomic(folder / "history.csv", history.to_csv(index=False).encode())
    write_atomic(folder / "curve.svg", alone(plot(_curve(name, found))).encode())
    save_state(folder / "weights.pt", found.weights)
    Trained(
        name=name,
        folder=folder,
        auroc=found.best.auroc,
        balanced_accuracy=found.balanced_accuracy,
        threshold=found.threshold,
        steps=found.best.step,
        seconds=found.seconds,
        waited=found.waited,
        revision=code,
        curve=sparkline([look.loss for look in found.looks]),
    ).save()
    (folder / "checkpoint.pt").unlink(missing_ok=True)


def _curve(name: str, found: Fitted) -> Curves:
    return Curves(
        "curve",
        name,
        tuple(str(look.epoch) for look in found.looks),
        {
            "training loss": line([look.loss for look in found.looks]),
            "validation loss": line([look.validation_loss for look in found.looks]),
            "validation AUROC": line([look.auroc for look in found.looks]),
        },
        x_title="epoch",
        kind="float",
        chance=None,
    )


def _enter(job: Job, training: Training, found: Trained, folder: Path, repository: Path, events: Events) -> None:
    """Export a trained detector into the repository, unless the same weights are there already."""
    weights = folder / "weights.pt"
    digest = file_sha256(weights)
    card = card_there(repository, job.name)
    if card is not None and card.training.get("weights_sha256") == digest:
        return
    state: Mapping[str, Tensor] = read_tensors(weights)
    built = detector_built(
        job.architecture,
        job.spec.scale,
        state,
        tag=job.name.partition(".")[2],
        summary=f"{job.architecture.summary.rstrip('.')}; trained on {', '.join(job.generators)}",
        trained_on=job.generators,
        threshold=found.threshold,
        licence=training.licence,
        source=job.architecture.source,
        training={
            "weights_sha256": digest,
            "data_sha256": job.train.digest,
            "images": len(job.train),
            "contents": len({content(job.train[position]) for position in range(len(job.train))}),
            "validation_images": len(job.validation),
            "validation_auroc": round(found.auroc, 4),
            "validation_balanced_accuracy": round(found.balanced_accuracy, 4),
            "steps": found.steps,
            "seed": job.seed,
            "recipe": job.recipe.model_dump_json(exclude_defaults=True),
            "revision": found.revision,
            "data": training.called(job.spec.data),
        },
    )
    enter_trained(built, training, repository, events)
