"""A bank of DIF fingerprints as training leaves it: plain arrays, before any graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from harness.errors import CheckpointError, problem

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bank:
    """Fingerprints of one size.

    Attributes:
        names: one a fingerprint; the generator it was trained on.
        fingerprints: float32 (K, 3, height, width).
        mu_real, mu_fake: float32 (K,): mean correlation of the training reals and fakes. Which is larger is free (the
            loss fixes only their distance), so they say which way a fingerprint points.
    """

    names: tuple[str, ...]
    fingerprints: Floats
    mu_real: Floats
    mu_fake: Floats

    def __post_init__(self) -> None:
        count = len(self.names)
        shape = self.fingerprints.shape
        if len(shape) != 4 or shape[0] != count or shape[1] != 3 or not count:
            raise CheckpointError(
                problem("bank", f"fingerprints ({count}, 3, height, width)", str(shape), "Train it again")
            )
        for name in ("fingerprints", "mu_real", "mu_fake"):
            values = getattr(self, name)
            if values.dtype != np.float32 or len(values) != count or not np.isfinite(values).all():
                raise CheckpointError(
                    problem(f"bank: {name}", "finite float32, one a name", f"{values.dtype}", "Train it again")
                )
        if len(set(self.names)) != count:
            raise CheckpointError(problem("bank: names", "each once", str(self.names), "Rename one"))

    def save(self, path: Path) -> None:
        """Write the bank as .npz."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(self.names),
                fingerprints=self.fingerprints,
                mu_real=self.mu_real,
                mu_fake=self.mu_fake,
            )

    @classmethod
    def load(cls, path: Path) -> Bank:
        """Read a bank; nothing in the file is executed.

        Raises:
            CheckpointError: no such file, or not a bank.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                names = tuple(str(name) for name in file["names"])
                return cls(names, file["fingerprints"], file["mu_real"], file["mu_fake"])
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise CheckpointError(problem(str(path), "a bank of fingerprints", str(error), "Train it again")) from error
