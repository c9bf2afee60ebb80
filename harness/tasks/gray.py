"""Task `gray`: what a network that fits a constant gray leaves in its images, step by step. Trains nothing."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.arrays import read_npz
from harness.errors import DataError, problem
from harness.fingerprints.spectrum import LEVELS, Peak, lattice, magnitudes, peaks, prominence
from harness.store.files import write_atomic

MOST_PEAKS = 6
"""Peaks told of each step."""


@dataclass(frozen=True)
class History:
    """A network's answers to fixed noise while it is fitted to a gray of 0.5 (its answers to 0).

    Attributes:
        up: how its decoder enlarges.
        base: channels of its first level.
        seed: of weights and noise.
        steps: optimiser steps before each kept answer, ascending.
        outputs: float16 (S, 3, H, W) in [-1, 1]; the images are ``0.5 * output + 0.5``.
        losses: float32 (steps[-1] + 1,), above 0: mean squared error of the image before each step and after the last.
    """

    up: str
    base: int
    seed: int
    steps: tuple[int, ...]
    outputs: NDArray[np.float16]
    losses: NDArray[np.float32]

    def __post_init__(self) -> None:
        outputs, losses = self.outputs, self.losses
        if outputs.ndim != 4 or outputs.shape[:2] != (len(self.steps), 3) or outputs.dtype != np.float16:
            got = f"{outputs.dtype} {outputs.shape}"
            raise DataError(problem("gray history", f"float16 ({len(self.steps)}, 3, H, W)", got, "Train it again"))
        if any(side % LEVELS[-1] or not side for side in outputs.shape[2:]):
            expected = f"sides that are multiples of {LEVELS[-1]}"
            raise DataError(problem("gray history", expected, str(outputs.shape[2:]), "Train it again"))
        if list(self.steps) != sorted({*self.steps}) or losses.shape != (max(self.steps, default=-1) + 1,):
            got = f"steps {self.steps} and {losses.shape[0]} losses"
            raise DataError(problem("gray history", "ascending steps, a loss at each", got, "Train it again"))
        if not (np.isfinite(outputs).all() and np.isfinite(losses).all() and (losses > 0).all()):
            raise DataError(problem("gray history", "finite answers and losses above 0", "others", "Train it again"))

    def digest(self) -> str:
        """Return the SHA-256 of everything it says, hex."""
        said = repr((self.up, self.base, self.seed, self.steps, self.outputs.shape)).encode()
        return hashlib.sha256(said + self.outputs.tobytes() + self.losses.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write it as .npz with its digest."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            digest=np.array(self.digest()),
            up=np.array(self.up),
            base=np.array(self.base),
            seed=np.array(self.seed),
            steps=np.array(self.steps),
            outputs=self.outputs,
            losses=self.losses,
        )
        write_atomic(path, buffer.getvalue())


def read_history(path: Path) -> History:
    """Read a history; nothing in the file is executed.

    Raises:
        DataError: no such file, not a history, or one that does not have its digest.
    """
    again = "Make it: python -m export.training gray"
    try:
        file = read_npz(path.read_bytes())
        steps = tuple(int(step) for step in file["steps"])
        facts = str(file["up"]), int(file["base"]), int(file["seed"])
        digest = str(file["digest"])
        found = History(*facts, steps, file["outputs"], file["losses"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(problem(str(path), "a gray history", str(error), again)) from error
    if found.digest() != digest:
        raise DataError(problem(str(path), f"digest {digest[:12]}", found.digest()[:12], again))
    return found


@dataclass(frozen=True)
class Stage:
    """The network's answer after some steps.

    Attributes:
        step: optimiser steps taken.
        output: float64 (3, H, W) in [-1, 1].
        psnr: of the image against gray, in dB, peak 1.
        peaks: of its spectrum, strongest first.
        lattice: mean magnitude over background of the frequencies at multiples of 1/2, 1/4, 1/8 and 1/16 cycles per
            pixel, by denominator, each without those of the ones before; under 0 that of all others.
    """

    step: int
    output: NDArray[np.float64]
    psnr: float
    peaks: tuple[Peak, ...]
    lattice: Mapping[int, float]


def stages(history: History) -> list[Stage]:
    """Return what is to be told of each kept answer."""
    level = lattice(history.outputs.shape[2:])
    found = []
    for step, output in zip(history.steps, history.outputs.astype(np.float64), strict=True):
        prominent = prominence(magnitudes(output))
        means = {each: float(prominent[level == each].mean()) for each in (*LEVELS, 0)}
        psnr = -10 * math.log10(history.losses[step])
        found.append(Stage(step, output, psnr, peaks(prominent, MOST_PEAKS), means))
    return found
