"""Trains one detector: steps, validation, early stopping, checkpoints. A step's chance follows from its number."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from export.training.feed import Order, Shown, Tested, batches
from export.training.jobs import Job
from export.training.objective import Objective, split_norms, without_splits
from export.training.recipe import Recipe
from export.training.states import checkpoint_state, save_state
from harness.errors import DivergedError, problem
from harness.metrics.binary import auroc, best_threshold, rates

STOP_RATE = 1e-6
"""A plateau schedule ends where the learning rate would fall below it."""


@dataclass(frozen=True)
class Look:
    """One look at the validation images.

    Attributes:
        epoch, step: when.
        loss: mean training loss since the look before.
        auroc, validation_loss: on the validation images.
        rate: the learning rate.
    """

    epoch: int
    step: int
    loss: float
    auroc: float
    validation_loss: float
    rate: float


@dataclass(frozen=True)
class Fitted:
    """A trained detector.

    Attributes:
        weights: its best state, by validation AUROC, then loss.
        looks: every look at the validation images.
        best: the one that ``weights`` are of.
        threshold: logit of the best balanced accuracy on the validation images.
        balanced_accuracy: there.
        seconds: spent, over all resumptions; those that a kill has lost are not among them.
        waited: share of them spent waiting for images.
    """

    weights: dict[str, Tensor]
    looks: Sequence[Look]
    best: Look
    threshold: float
    balanced_accuracy: float
    seconds: float
    waited: float


@dataclass
class Progress:
    """Where a training stands; all that a resumption needs beside the weights.

    Attributes:
        step: optimiser steps taken.
        cuts: times that a plateau has cut the rate.
        waited: looks since the best.
        loss, parts: sum of losses since the last look, and of how many steps.
        looks: so far.
        best: index of the best look; None before the first.
        seconds, idle: spent, and of them waiting for images, until it was last kept.
    """

    step: int = 0
    cuts: int = 0
    waited: int = 0
    loss: float = 0.0
    parts: int = 0
    looks: list[Look] = field(default_factory=list)
    best: int | None = None
    seconds: float = 0.0
    idle: float = 0.0


def fit(
    job: Job,
    network: nn.Module,
    fabric: Fabric,
    checkpoint: Path,
    *,
    workers: int,
    accumulate: int = 1,
    every_minutes: float = 5.0,
    report: Callable[[Progress, int], None] = lambda progress, steps: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fitted:
    """Train a detector, from its checkpoint where there is one.

    Killed at any moment and started again, it ends with the weights of an undisturbed training: to the bit on the
    same machine and number of threads, on a processor.

    Args:
        job: what to train.
        network: with its first weights; float images (N, 3, S, S) in [0, 1] to logits (N,).
        fabric: device, processes and precision.
        checkpoint: where the state goes, every so many minutes and at every epoch's end.
        workers: processes that read images; 0: this one.
        accumulate: parts that a batch is taken in.
        every_minutes: between checkpoints.
        report: receives the progress after each step, and how many steps there are at most.
        clock: seconds.

    Raises:
        CheckpointError: a checkpoint that can't be read.
        DivergedError: the network's answers are no numbers any more; the last checkpoint is of before.
    """
    recipe, spec = job.recipe, job.architecture.preprocess[job.spec.scale]
    part = max(1, recipe.batch // (fabric.world_size * accumulate))
    epoch_steps = math.ceil(len(job.train) / recipe.batch)
    steps = epoch_steps * recipe.epochs
    split_norms(network, recipe.views)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not any(fnmatchcase(name, pattern) for pattern in job.spec.freeze))
    optimiser = _optimiser(network, recipe)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)) if recipe.ema else None
    kept = _Kept(checkpoint, network, optimiser, average, fabric.strategy.precision)
    progress, best = kept.load()
    model, wrapped = fabric.setup(network, optimiser)
    if average is not None:
        average.to(fabric.device)
    objective = Objective(recipe, fabric.device)
    shown = Shown(job.train, recipe, spec, job.seed)
    tested = Tested(job.validation, spec)
    order = Order(
        job.train.labels,
        part,
        job.seed,
        progress.step * accumulate,
        steps * accumulate,
        fabric.global_rank,
        fabric.world_size,
    )
    judge = average.module if average is not None else network
    saved = clock()
    started = saved - progress.seconds
    feed = batches(shown, order, workers, pin=fabric.device.type == "cuda")
    model.train()
    while progress.step < steps and not _over(recipe, progress):
        rate = rate_at(recipe, progress.step / epoch_steps, progress.cuts)
        for group in wrapped.param_groups:
            group["lr"] = rate
        seed = (job.seed, progress.step, fabric.global_rank)
        asked = clock()
        parts = [next(feed) for _ in range(accumulate)]
        progress.idle += clock() - asked
        progress.loss += _step(model, wrapped, fabric, objective, parts, seed)
        if average is not None:
            average.update_parameters(network)
        progress.step += 1
        progress.parts += 1
        looked = progress.step % epoch_steps == 0 or progress.step == steps
        if looked:
            scores, labels = _validate(judge, tested, workers, fabric)
            if np.isnan(scores).any():
                what, got = f"{job.name}: answers after {progress.step:,} steps", "nan"
                do = "Lower the recipe's lr, or lengthen its warmup"
                raise DivergedError(problem(what, "numbers", got, do))
            if _look(progress, recipe, scores, labels, progress.step // epoch_steps, rate):
                best = {key: value.detach().cpu().clone() for key, value in without_splits(judge.state_dict()).items()}
            model.train()
        report(progress, steps)
        if looked or clock() - saved > 60 * every_minutes:
            saved = clock()
            progress.seconds = saved - started
            if fabric.is_global_zero:
                kept.save(progress, best)
    fabric.barrier()
    judge = deepcopy(network)
    judge.load_state_dict({**network.state_dict(), **best})
    scores, labels = _validate(judge, tested, workers, fabric)
    progress.seconds = clock() - started
    return _fitted(best, progress, scores, labels)


def rate_at(recipe: Recipe, epoch: float, cuts: int) -> float:
    """Return the learning rate at a moment.

    Args:
        recipe: peak, warm-up and schedule.
        epoch: passes done, with fraction.
        cuts: of a plateau, so far.
    """
    if epoch < recipe.warmup:
        return recipe.lr * (epoch + 1e-3) / recipe.warmup
    if recipe.schedule == "cosine":
        share = (epoch - recipe.warmup) / max(recipe.epochs - recipe.warmup, 1e-9)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return recipe.lr * 0.1**cuts


def _over(recipe: Recipe, progress: Progress) -> bool:
    """Whether a training ends before its last epoch."""
    if recipe.schedule == "plateau":
        return recipe.lr * 0.1**progress.cuts < STOP_RATE
    return progress.waited >= recipe.patience


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; vectors (biases, norms) do not decay under ``adamw``."""
    free = [item for item in network.parameters() if item.requires_grad]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            free, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.momentum > 0
        )
    if recipe.optimiser == "adam":
        return torch.optim.Adam(free, recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)
    groups = [
        {"params": [item for item in free if item.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [item for item in free if item.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe.lr, betas=(recipe.momentum, 0.999))


def _step(
    model: Any,
    optimiser: Any,
    fabric: Fabric,
    objective: Objective,
    parts: Sequence[tuple[Tensor, Tensor]],
    seed: tuple[int, ...],
) -> float:
    """Take one optimiser step; returns the mean loss."""
    drawn = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(drawn)
    random.seed(drawn)
    np.random.seed(drawn % 2**32)
    generator = torch.Generator(fabric.device).manual_seed(drawn)
    total = 0.0
    for number, (images, labels) in enumerate(parts, start=1):
        with fabric.no_backward_sync(model, enabled=number < len(parts)):
            loss = objective(model, images.to(fabric.device), labels.to(fabric.device), generator) / len(parts)
            fabric.backward(loss)
        total += float(loss.detach())
    optimiser.step()
    optimiser.zero_grad()
    return total


def _validate(network: nn.Module, tested: Tested, workers: int, fabric: Fabric) -> tuple[Any, Any]:
    """Return logits and labels of all validation images, each process answering its share."""
    network.eval()
    rank, world = fabric.global_rank, fabric.world_size
    mine = range(rank, len(tested), world)
    scores = torch.full((math.ceil(len(tested) / world),), torch.nan)
    done = 0
    with torch.no_grad(), fabric.autocast():
        for batch in DataLoader(tested, batch_size=64, sampler=mine, num_workers=workers):
            answered = network(batch.to(fabric.device).float() / 255).float().cpu()
            scores[done : done + len(answered)] = answered
            done += len(answered)
    gathered = fabric.all_gather(scores.to(fabric.device))
    assert isinstance(gathered, Tensor)
    ordered = gathered.reshape(world, -1).cpu().numpy().T.reshape(-1)[: len(tested)]
    return ordered.astype(np.float64), np.asarray(tested.decoded.labels)


def _look(progress: Progress, recipe: Recipe, scores: Any, labels: Any, epoch: int, rate: float) -> bool:
    """Note a look at the validation images; returns whether it is the best."""
    loss = functional.binary_cross_entropy_with_logits(torch.from_numpy(scores), torch.from_numpy(labels).double())
    look = Look(epoch, progress.step, progress.loss / progress.parts, float(auroc(scores, labels)), float(loss), rate)
    progress.loss, progress.parts = 0.0, 0
    progress.looks.append(look)
    known = progress.looks[progress.best] if progress.best is not None else None
    better = known is None or (look.auroc, -look.validation_loss) > (known.auroc, -known.validation_loss)
    if better:
        progress.best, progress.waited = len(progress.looks) - 1, 0
        return True
    progress.waited += 1
    if recipe.schedule == "plateau" and progress.waited >= recipe.patience:
        progress.cuts, progress.waited = progress.cuts + 1, 0
    return False


def _fitted(best: dict[str, Tensor], progress: Progress, scores: Any, labels: Any) -> Fitted:
    assert progress.best is not None
    threshold = float(best_threshold(scores, labels))
    accuracy = float(rates(scores, labels, threshold).balanced_accuracy)
    return Fitted(
        weights=best,
        looks=progress.looks,
        best=progress.looks[progress.best],
        threshold=threshold,
        balanced_accuracy=accuracy,
        seconds=progress.seconds,
        waited=progress.idle / max(progress.seconds, 1e-9),
    )


class _Kept:
    """A training's state on disk."""

    def __init__(
        self,
        path: Path,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        average: AveragedModel | None,
        precision: Precision,
    ) -> None:
        self.path, self.network, self.optimiser, self.average = path, network, optimiser, average
        self.precision = precision

    def save(self, progress: Progress, best: dict[str, Tensor]) -> None:
        """Write it, whole or not at all."""
        state = {
            "progress": asdict(progress),
            "best": best,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "precision": self.precision.state_dict(),
        }
        save_state(self.path, state)

    def load(self) -> tuple[Progress, dict[str, Tensor]]:
        """Take up a state where there is one.

        Raises:
            CheckpointError: it can't be read.
        """
        if not self.path.is_file():
            return Progress(), {}
        with checkpoint_state(self.path) as state:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.precision.load_state_dict(state["precision"])
            said = state["progress"]
            return Progress(**{**said, "looks": [Look(**look) for look in said["looks"]]}), state["best"]
