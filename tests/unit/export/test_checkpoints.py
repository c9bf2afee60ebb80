import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.checkpoints import read_dif_bank, read_dif_checkpoint
from harness.errors import CheckpointError

Published = Callable[..., Path]


def rewrite(home: Path, **changes: Any) -> None:
    said = torch.load(home / "chk_0.pt", weights_only=True)
    for key, value in changes.items():
        said[key.replace("_", " ")] = value
    torch.save({key: value for key, value in said.items() if value is not None}, home / "chk_0.pt")


def test_a_checkpoint_is_read_whole(published: Published) -> None:
    home = published("mj") / "mj"
    said = read_dif_checkpoint(home)
    stored = torch.load(home / "chk_0.pt", weights_only=True)["Fingerprint"]
    assert said.name == "mj"
    np.testing.assert_array_equal(said.fingerprint, stored[0].numpy())
    assert (said.mu_real, said.mu_fake) == pytest.approx((-0.001, 0.013)), "the last 20 batches, not the first ten"
    assert said.hypers["Device"] == "cuda:0"
    assert said.hypers["Crop Size"] == stored.shape[2:]


def test_hypers_are_optional(published: Published) -> None:
    home = published("mj") / "mj"
    (home / "train_hypers.pt").unlink()
    assert read_dif_checkpoint(home).hypers == {}


def test_fewer_batches_than_twenty_are_all_used(published: Published) -> None:
    home = published("mj") / "mj"
    rewrite(home, Train_Real=[0.25, 0.75])
    assert read_dif_checkpoint(home).mu_real == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Fingerprint": None}, "a dict of Fingerprint"),
        ({"Train_Fake": None}, "a dict of Fingerprint"),
        ({"Fingerprint": torch.zeros(3, 8, 8)}, r"\(1, 3, height, width\), got \(3, 8, 8\)"),
        ({"Fingerprint": torch.zeros(1, 1, 8, 8)}, r"got \(1, 1, 8, 8\)"),
        ({"Fingerprint": torch.zeros(1, 3, 0, 8)}, r"got \(1, 3, 0, 8\)"),
        ({"Fingerprint": [1.0]}, "got list"),
        ({"Fingerprint": torch.full((1, 3, 8, 8), torch.nan)}, "NaN"),
        ({"Fingerprint": torch.ones(1, 3, 8, 8)}, "constant"),
        ({"Train_Real": []}, "a list of finite numbers"),
        ({"Train_Real": [0.1, float("nan")]}, "a list of finite numbers"),
        ({"Train_Real": ["0.1"]}, "a list of finite numbers"),
        ({"Train_Real": torch.zeros(3)}, "a list of finite numbers"),
        ({"Train_Real": [0.013] * 30, "Train_Fake": [0.013] * 20}, "different centres"),
    ],
)
def test_wrong_content_is_named(published: Published, changes: dict[str, Any], said: str) -> None:
    home = published("mj") / "mj"
    rewrite(home, **changes)
    with pytest.raises(CheckpointError, match=said):
        read_dif_checkpoint(home)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncation(published: Published, share: float) -> None:
    path = published("mj") / "mj" / "chk_0.pt"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"chk_0\.pt"):
        read_dif_checkpoint(path.parent)


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_text_that_claims_to_be_longer_than_its_file_takes_no_memory(published: Published) -> None:
    folder = published("mj") / "mj"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # of torch's format before the ZIP files
    (folder / "chk_0.pt").write_bytes(magic + pickle.dumps(1001, protocol=2) + b"\x80\x02X" + struct.pack("<I", 2**31))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="expected a checkpoint of plain tensors"):
            read_dif_checkpoint(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_code_in_a_checkpoint_never_runs(published: Published, tmp_path: Path) -> None:
    home, trap = published("mj") / "mj", tmp_path / "sprung"
    torch.save({"Fingerprint": _Evil(trap)}, home / "chk_0.pt")
    with pytest.raises(CheckpointError, match="plain tensors"):
        read_dif_checkpoint(home)
    (home / "chk_0.pt").write_bytes(pickle.dumps(_Evil(trap)))
    with pytest.raises(CheckpointError, match="plain tensors"):
        read_dif_checkpoint(home)
    assert not trap.exists()


def test_a_folder_that_can_be_no_head_is_refused(published: Published) -> None:
    with pytest.raises(CheckpointError, match="Rename it"):
        read_dif_checkpoint(published("My Generator") / "My Generator")


def test_a_bank_is_every_checkpoint_by_name(published: Published) -> None:
    folder = published("sd14", "mj")
    (folder / "notes").mkdir()
    bank = read_dif_bank(folder)
    assert bank.names == ("mj", "sd14")
    for name, fingerprint in zip(bank.names, bank.fingerprints, strict=True):
        np.testing.assert_array_equal(fingerprint, read_dif_checkpoint(folder / name).fingerprint)


def test_no_checkpoints(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="got none"):
            read_dif_bank(folder)


def test_one_size_a_bank(published: Published) -> None:
    published("mj", side=16)
    with pytest.raises(CheckpointError, match="one size"):
        read_dif_bank(published("sd14", side=32))


CENTRES = {
    "biggan": (0.0001, -0.0134),
    "cyclegan": (0.0014, -0.0124),
    "dalle_mini": (0.0027, -0.0105),
    "mj": (0.0007, -0.0132),
    "progan": (0.0017, -0.0003),
    "sd14": (-0.0010, 0.0131),
    "sd21": (-0.0018, 0.0080),
    "stylegan": (-0.0055, 0.0075),
    "stylegan2": (0.0009, 0.0137),
}


@pytest.mark.skipif("DISCERN_DATA" not in os.environ, reason="published checkpoints need DISCERN_DATA")
def test_the_published_checkpoints() -> None:
    folder = Path(os.environ["DISCERN_DATA"]) / "dif" / "checks"
    bank = read_dif_bank(folder)
    assert bank.names == tuple(CENTRES)
    assert bank.fingerprints.shape == (9, 3, 256, 256)
    np.testing.assert_allclose(np.stack([bank.mu_real, bank.mu_fake], 1), list(CENTRES.values()), atol=1.1e-4)
    hypers = read_dif_checkpoint(folder / "mj").hypers
    assert (hypers["Device"], hypers["Crop Size"], hypers["Train Size"]) == ("cuda", (256, 256), 512)
