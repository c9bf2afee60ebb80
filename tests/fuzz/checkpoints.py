"""Whole checkpoints and states of trainings, how each is damaged, and what opens it; needs torch."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from export.checkpoints import read_dif_checkpoint
from export.residual_filters import DnCNN
from export.training.result import Trained
from export.training.spec import Training
from export.training.states import checkpoint_state
from harness.spec.load import load_spec
from tests.fuzz.files import JSON, YAML, texts
from tests.fuzz.mutators import damaged
from tests.fuzz.watched import ROOT, Kind

STEPS = {"Train Real": [0.5] * 10 + [-0.001] * 20, "Train Fake": [0.5] * 10 + [0.013] * 20}


def saved(value: Any, **options: Any) -> bytes:
    """Return what torch writes of a value."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def published() -> Sequence[bytes]:
    """Return a published fingerprint in both of torch's formats."""
    value = {"Fingerprint": torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), **STEPS}
    return [saved(value), saved(value, _use_new_zipfile_serialization=False)]


def hypers() -> Sequence[bytes]:
    """Return the hyper-parameters beside it, as the published ones are."""
    said = {
        "Epochs": 100,
        "LR": 5e-4,
        "Device": torch.device("cuda:0"),
        "Crop Size": (8, 8),
        "Concat": [1, {"a": None}],
    }
    return [pickle.dumps(said, protocol=protocol) for protocol in (2, 4)]


def prepare_hypers(folder: Path) -> None:
    """Put the fingerprint beside them."""
    (folder / "mj").mkdir()
    (folder / "mj" / "chk_0.pt").write_bytes(published()[0])


def filters() -> Sequence[bytes]:
    """Return the weights of a small residual filter."""
    network = DnCNN(3, 4)
    return [saved({"depth": 3, "width": 4, "state": network.state_dict()})]


@cache
def states() -> Sequence[bytes]:
    """Return what a training leaves: weights, the optimiser's state, curves."""
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return [
        saved({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 3, "looks": [[1, 0.5]]})
    ]


def take_up(folder: Path) -> None:
    """Take a training up from its checkpoint."""
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    with checkpoint_state(folder / "checkpoint.pt") as state:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        int(state["epoch"])


def results() -> Sequence[bytes]:
    """Return a training's result."""
    from tempfile import TemporaryDirectory

    facts = {"auroc": 0.9, "balanced_accuracy": 0.8, "threshold": 0.0, "waited": 0.1}
    with TemporaryDirectory() as folder:
        Trained(name="a.b", folder=Path(folder), steps=3, seconds=1.0, revision="r", curve="▁", **facts).save()
        return texts(Path(folder), "*.json")


def trainings() -> Sequence[bytes]:
    """Return the shipped training files."""
    return texts(ROOT / "suites" / "train", "*.yaml")


KINDS = (
    Kind("DIF checkpoint", "mj/chk_0.pt", published, damaged, lambda f: read_dif_checkpoint(f / "mj")),
    Kind(
        "DIF hyper-parameters",
        "mj/train_hypers.pt",
        hypers,
        damaged,
        lambda f: read_dif_checkpoint(f / "mj"),
        prepare_hypers,
    ),
    Kind("residual filter", "f.pt", filters, damaged, lambda f: DnCNN.load(f / "f.pt")),
    Kind("state of a training", "checkpoint.pt", states, damaged, take_up),
    Kind("result of a training", "result.json", results, JSON, Trained.load),
    Kind("training file", "t.yaml", trainings, YAML, lambda f: load_spec(Training, f / "t.yaml", (), {})),
)
