"""Reads published DIF checkpoints as plain data; never runs, imports or unpickles what is in them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from export.plain_pickle import read_plain_pickle
from harness.errors import CheckpointError, problem
from harness.fingerprints.bank import Bank, Floats

LAST = 20
"""Training batches at the end whose mean is a class' centre (DIF's evaluation)."""

KEYS = ("Fingerprint", "Train Real", "Train Fake")

GENERATOR = re.compile(r"[a-z0-9_.\-]+")
"""What a folder's name has to be, for it becomes a head's name."""


@dataclass(frozen=True)
class PublishedFingerprint:
    """One published DIF fingerprint.

    Attributes:
        name: of its folder; the generator.
        fingerprint: float32 (3, height, width).
        mu_real, mu_fake: mean correlation of the real and fake images in the last training batches; never equal.
        hypers: the recorded hyper-parameters as plain data; a device is its name.
    """

    name: str
    fingerprint: Floats
    mu_real: float
    mu_fake: float
    hypers: dict[str, Any]


def read_dif_bank(folder: Path) -> Bank:
    """Read every published fingerprint below a folder into one bank, by name.

    Raises:
        CheckpointError: there is none, one can't be used, or their sizes differ.
    """
    folders = sorted(item for item in folder.iterdir() if (item / "chk_0.pt").is_file()) if folder.is_dir() else []
    if not folders:
        raise CheckpointError(
            problem(f"checkpoints {folder}", "folders GENERATOR/chk_0.pt", "none", "Check the folder's name")
        )
    read = [read_dif_checkpoint(item) for item in folders]
    sizes = sorted({item.fingerprint.shape[1:] for item in read})
    if len(sizes) > 1:
        raise CheckpointError(
            problem(
                f"checkpoints {folder}", "fingerprints of one size", str(sizes), "Put each size into its own folder"
            )
        )
    return Bank(
        names=tuple(item.name for item in read),
        fingerprints=np.stack([item.fingerprint for item in read]),
        mu_real=np.array([item.mu_real for item in read], np.float32),
        mu_fake=np.array([item.mu_fake for item in read], np.float32),
    )


def read_dif_checkpoint(folder: Path) -> PublishedFingerprint:
    """Read ``chk_0.pt`` and, where it is there, ``train_hypers.pt`` of one published DIF model.

    Raises:
        CheckpointError: a file is missing, malformed, incomplete, or asks for anything but plain data.
    """
    if not GENERATOR.fullmatch(folder.name):
        raise CheckpointError(
            problem(f"checkpoint {folder}", f"a folder named {GENERATOR.pattern}", repr(folder.name), "Rename it")
        )
    path = folder / "chk_0.pt"
    said = read_tensors(path)
    if not isinstance(said, dict) or any(key not in said for key in KEYS):
        got = ", ".join(map(repr, said)) if isinstance(said, dict) else type(said).__name__
        raise CheckpointError(
            problem(str(path), f"a dict of {', '.join(KEYS)}", got, "Check that it is DIF's chk_0.pt")
        )
    mu_real, mu_fake = (_centre(f"{path}: {key}", said[key]) for key in KEYS[1:])
    if mu_real == mu_fake:
        raise CheckpointError(
            problem(
                str(path), "different centres of real and fake", f"{mu_real} twice", "Train the fingerprint further"
            )
        )
    hypers = folder / "train_hypers.pt"
    return PublishedFingerprint(
        name=folder.name,
        fingerprint=_fingerprint(f"{path}: {KEYS[0]}", said[KEYS[0]]),
        mu_real=mu_real,
        mu_fake=mu_fake,
        hypers=read_plain_pickle(hypers) if hypers.is_file() else {},
    )


def read_tensors(path: Path, expected: str = "a checkpoint of plain tensors", do: str = "Fetch it again") -> Any:
    """Return what torch saved in a file; nothing in it is executed.

    Args:
        path: the file.
        expected, do: of the complaint where there is nothing to be had from it.

    Raises:
        CheckpointError: no such file, a damaged one, or one that holds code.
    """
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return torch.load(cast(IO[bytes], content), map_location="cpu", weights_only=True)  # never past its end
    except Exception as error:  # each of torch's builders fails in ways of its own
        words = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(problem(str(path), expected, words, do)) from error


def _fingerprint(what: str, value: Any) -> Floats:
    if not isinstance(value, torch.Tensor) or value.ndim != 4 or value.shape[:2] != (1, 3) or not value.numel():
        got = f"{tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise CheckpointError(problem(what, "a tensor (1, 3, height, width)", got, "Check that it is DIF's chk_0.pt"))
    array = value[0].detach().to(torch.float32).numpy()
    if not np.isfinite(array).all() or array.min() == array.max():
        raise CheckpointError(
            problem(what, "finite values that differ", "NaN, infinity or a constant", "Train it again")
        )
    return array


def _centre(what: str, values: Any) -> float:
    """Return the mean of the last training batches."""
    last = values[-LAST:] if isinstance(values, list) else []
    if not last or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in last):
        raise CheckpointError(
            problem(what, "a list of finite numbers", repr(values)[:60], "Check that it is DIF's chk_0.pt")
        )
    return math.fsum(last) / len(last)
