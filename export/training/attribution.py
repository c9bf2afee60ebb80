"""Trains attributors: on representations made once, stopped by validation accuracy, each entered with its parity."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from export.attributors import Network
from export.attributors.export import attributor_built
from export.checkpoints import read_tensors
from export.onnx import file_sha256
from export.parity import PROBES
from export.training.attribution_jobs import AttributionJob, Places
from export.training.entries import card_there, enter_trained
from export.training.represented import Found, Values, compute
from export.training.result import RESULT, TrainedAttributor, sparkline
from export.training.spec import Training
from export.training.states import save_state
from harness.environment import revision
from harness.errors import DivergedError, problem
from harness.events import Events
from harness.store.files import write_atomic

ASKED = 256
"""Validation images asked together."""


@dataclass(frozen=True)
class Look:
    """One look at the validation images.

    Attributes:
        epoch: when; 0 before the first.
        loss: mean training loss of the epoch; nan without steps.
        accuracy, validation_loss: on the validation images; cross-entropy in nats.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float


@dataclass(frozen=True)
class Fitted:
    """A trained attributor.

    Attributes:
        weights: its best state, by validation accuracy, then loss.
        looks: every look at the validation images.
        best: the one that ``weights`` are of.
    """

    weights: dict[str, Tensor]
    looks: Sequence[Look]
    best: Look


def train_attributor(
    job: AttributionJob,
    training: Training,
    folder: Path,
    out: Path,
    repository: Path,
    device: torch.device,
    events: Events,
    words: str = "",
) -> TrainedAttributor:
    """Train one attributor and enter it, or what of that is left to do.

    Args:
        job: what to train.
        training: the file.
        folder: of its weights and its result.
        out: representations lie below it.
        repository: where the entry goes.
        device: where it is trained.
        events: receives progress.
        words: what is said to be going on.

    Raises:
        DivergedError: its answers are no numbers any more.
        ParityError: its graph does not answer as it does.
    """
    if not (folder / RESULT).is_file():
        found = compute(job.shown, out / "representations", events)
        started, code = time.monotonic(), revision()
        events.begin(words or job.name, job.recipe.epochs, "epochs")
        try:
            fitted = fit(job, found.values, device, lambda look: _report(look, job, events))
        finally:
            events.end()
        _write(fitted, job, folder, time.monotonic() - started, code)
    trained = TrainedAttributor.load(folder)
    _enter(job, training, trained, out, repository, events)
    return trained


def fit(
    job: AttributionJob, values: Values, device: torch.device, report: Callable[[Look], None] = lambda look: None
) -> Fitted:
    """Train an attributor; the same job gives the same weights on one machine and number of threads.

    Args:
        job: what to train.
        values: representations, a row each.
        device: where.
        report: receives each look at the validation images.

    Raises:
        DivergedError: the network's answers are no numbers any more.
    """
    recipe = job.recipe
    torch.manual_seed(job.seed)
    network = job.method.build(job.spec.scale, values.shape[1:], len(job.sources)).to(device)
    network.eval().settle(_batches(values, job, job.train, recipe.batch, device))
    looks = [_look(network, values, job, device, 0, math.nan)]
    best, weights = looks[0], _state(network)
    waited, steps = 0, math.ceil(len(job.train) / recipe.batch) * recipe.epochs
    optimiser = schedule = None
    if recipe.epochs:
        optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(1, recipe.epochs + 1):
        assert optimiser is not None and schedule is not None
        random = np.random.default_rng((job.seed, epoch))
        order = random.permutation(job.train)
        losses = []
        network.train()
        for pictures, targets in _batches(values, job, order, recipe.batch, device):
            inputs = _cut(pictures, recipe.crop, random) if recipe.crop else pictures
            loss = functional.cross_entropy(network(inputs), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        look = _look(network, values, job, device, epoch, float(np.mean(losses)))
        looks.append(look)
        report(look)
        if (look.accuracy, -look.validation_loss) > (best.accuracy, -best.validation_loss):
            best, weights, waited = look, _state(network), 0
        else:
            waited += 1
        if waited >= recipe.patience:
            break
    return Fitted(weights, looks, best)


def _batches(
    values: Values, job: AttributionJob, rows: Places, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        targets = torch.from_numpy(job.targets[chosen])
        yield torch.from_numpy(values[chosen]).to(device), targets.to(device)


def _cut(pictures: Tensor, side: int, random: np.random.Generator) -> Tensor:
    """Return a random square of each picture, mirrored by an even chance.

    Args:
        pictures: uint8 (n, H, W, 3), or float32 (n, C, H, W).
        side: of the square; a shorter side of the pictures stays whole.
        random: draws places and mirrors.
    """
    last = pictures.dtype == torch.uint8
    planes = pictures.permute(0, 3, 1, 2) if last else pictures
    cuts = []
    for plane in planes:
        top, left = (int(random.integers(max(0, length - side) + 1)) for length in plane.shape[1:])
        cut = plane[:, top : top + side, left : left + side]
        cuts.append(cut.flip(2) if random.random() < 0.5 else cut)
    made = torch.stack(cuts)
    return made.permute(0, 2, 3, 1) if last else made


def _look(network: Network, values: Values, job: AttributionJob, device: torch.device, epoch: int, loss: float) -> Look:
    network.eval()
    with torch.no_grad():
        parts = [network(inputs).cpu() for inputs, _ in _batches(values, job, job.validation, ASKED, device)]
    scores, targets = torch.cat(parts).double(), torch.from_numpy(job.targets[job.validation])
    if not torch.isfinite(scores).all():
        do = "Lower the recipe's lr"
        raise DivergedError(problem(f"{job.name}: answers after {epoch} epochs", "numbers", "nan or infinity", do))
    accuracy = float((scores.argmax(dim=1) == targets).double().mean())
    return Look(epoch, loss, accuracy, float(functional.cross_entropy(scores, targets)))


def _state(network: Network) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}


def _report(look: Look, job: AttributionJob, events: Events) -> None:
    events.advance(look.epoch, job.recipe.epochs, f"val accuracy {look.accuracy:.3f}, loss {look.loss:.3f}")


def _write(fitted: Fitted, job: AttributionJob, folder: Path, seconds: float, code: str) -> None:
    """Write weights and history, and last of all the result."""
    history = pd.DataFrame([asdict(look) for look in fitted.looks])
    write_atomic(folder / "history.csv", history.to_csv(index=False).encode())
    save_state(folder / "weights.pt", fitted.weights)
    TrainedAttributor(
        name=job.name,
        folder=folder,
        accuracy=fitted.best.accuracy,
        steps=fitted.best.epoch * math.ceil(len(job.train) / job.recipe.batch),
        seconds=seconds,
        revision=code,
        curve=sparkline([look.loss for look in fitted.looks]),
    ).save()


def _enter(
    job: AttributionJob, training: Training, trained: TrainedAttributor, out: Path, repository: Path, events: Events
) -> None:
    """Export a trained attributor into the repository, unless the same weights are there already."""
    weights = trained.folder / "weights.pt"
    digest = file_sha256(weights)
    card = card_there(repository, job.name)
    said = None if card is None else (card.classes, card.represent, card.training.get("weights_sha256"))
    if said == (job.sources, job.shown.represent, digest):
        return
    found = compute(job.shown, out / "representations", events)
    left_out = ", ".join(job.spec.leave_out)
    built = attributor_built(
        job.method,
        job.spec.scale,
        read_tensors(weights),
        name=job.name,
        summary=f"{job.method.summary}, of {len(job.sources)} sources{f', without {left_out}' if left_out else ''}",
        classes=job.sources,
        represent=job.shown.represent,
        reference=found.reference,
        preprocess=job.shown.preprocess.model_copy(update={"pad": False}),
        probes=_probes(job, found),
        training={
            "weights_sha256": digest,
            "data_sha256": job.shown.images.digest,
            "images": len(job.train),
            "validation_images": len(job.validation),
            "validation_accuracy": round(trained.accuracy, 4),
            "left_out": left_out or "none",
            "steps": trained.steps,
            "seed": job.seed,
            "recipe": job.recipe.model_dump_json(exclude_defaults=True),
            "revision": trained.revision,
            "data": training.called(job.spec.data),
            **found.facts,
        },
        licence=training.licence,
    )
    enter_trained(built, training, repository, events)


def _probes(job: AttributionJob, found: Found) -> Values:
    """Return representations of validation images, spread over the sources."""
    spread = np.linspace(0, len(job.validation) - 1, min(PROBES, len(job.validation))).round().astype(np.int64)
    return np.ascontiguousarray(found.values[job.validation[spread]])
