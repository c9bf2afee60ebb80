"""Small banks, filters and published-style checkpoints, made up from seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from export.fingerprints import DifBank, dif_card
from export.onnx import write_onnx
from export.residual_filters import DnCNN
from harness.card import Card
from harness.fingerprints.bank import Bank

SIDE = 24


def make_bank(names: tuple[str, ...] = ("gan", "flow", "vq"), side: int = SIDE, seed: int = 0) -> Bank:
    random = np.random.default_rng(seed)
    count = len(names)
    centres = random.normal(0, 0.01, (2, count)).astype(np.float32)
    return Bank(names, random.normal(0.1, 1, (count, 3, side, side)).astype(np.float32), *centres)


def make_card(bank: Bank, name: str = "dif.made_up") -> Card:
    return dif_card(name, bank, summary="Made up", licence="CC0-1.0", source="a seed", training={"seed": 0}, claims={})


def make_filter(seed: int = 0) -> DnCNN:
    """A small DnCNN whose batch norms have seen data, so that folding them matters."""
    torch.manual_seed(seed)
    network = DnCNN(depth=4, width=8).train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(4, 3, SIDE, SIDE))
    return network.eval()


def write_published(folder: Path, name: str, side: int = SIDE, seed: int = 0) -> Path:
    """Write one checkpoint as the published ones are."""
    import pickle

    torch.manual_seed(seed)
    home = folder / name
    home.mkdir(parents=True)
    steps = {"Train Real": [0.5] * 10 + [-0.001] * 20, "Train Fake": [0.5] * 10 + [0.013] * 20, "Loss": [1.0] * 30}
    torch.save({"Fingerprint": torch.randn(1, 3, side, side), **steps}, home / "chk_0.pt")
    hypers = {"Epochs": 100, "LR": 5e-4, "Device": torch.device("cuda:0"), "Crop Size": (side, side), "Concat": [1, 1]}
    (home / "train_hypers.pt").write_bytes(pickle.dumps(hypers, protocol=4))
    return home


@dataclass(frozen=True)
class Exported:
    bank: Bank
    module: DifBank
    card: Card
    model: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A bank over a folded DnCNN, exported once for the whole session; never change its file."""
    bank = make_bank()
    module, card = DifBank(make_filter().folded(), bank), make_card(bank)
    model = tmp_path_factory.mktemp("exported") / "model.onnx"
    write_onnx(module, torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), model, card)
    return Exported(bank, module, card, model)


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """Write published-style checkpoints: ``published("mj", "sd14")`` returns their folder."""

    def write(*names: str, side: int = SIDE) -> Path:
        for seed, name in enumerate(names):
            write_published(tmp_path / "checks", name, side, seed)
        return tmp_path / "checks"

    return write
