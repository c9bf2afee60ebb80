"""Banks of DIF fingerprints as plain arrays, and the file of one beside its model; builds and runs no graph."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.arrays import read_npz
from harness.card import Card
from harness.errors import CheckpointError, problem
from harness.store.files import write_atomic

Floats = NDArray[np.float32]

BANK_FILE = "fingerprints.npz"
"""Name of a bank's file in its entry of a model repository."""

BANK_KEY = "bank_sha256"
"""What a card's training calls the SHA-256 of that file."""


@dataclass(frozen=True)
class Bank:
    """Fingerprints of one size.

    Attributes:
        names: one a fingerprint; the generator it was trained on.
        fingerprints: float32 (K, 3, height, width).
        mu_real, mu_fake: float32 (K,): mean correlation of the training reals and fakes. Which is larger is free (the
            loss fixes only their distance), so they say which way a fingerprint points.
        reach: pixels that a residual may be shifted by, up, down and to the sides, in search of the correlation
            farthest in the fakes' direction; 0: the correlation as it stands.
    """

    names: tuple[str, ...]
    fingerprints: Floats
    mu_real: Floats
    mu_fake: Floats
    reach: int = 0

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
        most = (min(shape[2:]) - 1) // 2
        if not 0 <= self.reach <= most:
            what = f"bank of {shape[2]} x {shape[3]} pixels: reach"
            raise CheckpointError(problem(what, f"0 to {most} pixels", str(self.reach), "Search fewer shifts"))

    @property
    def signs(self) -> Floats:
        """Float32 (K,): 1 where fakes correlate higher than reals, -1 where lower, 0 where alike."""
        signs: Floats = np.sign(self.mu_fake - self.mu_real)
        return signs

    def to_bytes(self) -> bytes:
        """Return the bank as .npz; the same bank gives the same bytes."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            names=np.array(self.names),
            fingerprints=self.fingerprints,
            mu_real=self.mu_real,
            mu_fake=self.mu_fake,
            reach=np.int64(self.reach),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, what: str) -> Bank:
        """Read a bank; nothing in the bytes is executed.

        Args:
            content: of a .npz file; one without ``reach`` has none.
            what: the file, for complaints.

        Raises:
            CheckpointError: not a bank.
        """
        try:
            file = read_npz(content)
            names = tuple(str(name) for name in file["names"])
            reach = int(file["reach"]) if "reach" in file else 0
            return cls(names, file["fingerprints"], file["mu_real"], file["mu_fake"], reach)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(problem(what, "a bank of fingerprints", str(error), "Train it again")) from error

    def save(self, path: Path) -> None:
        """Write the bank as .npz."""
        write_atomic(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Bank:
        """Read a bank's file.

        Raises:
            CheckpointError: no such file, or not a bank.
        """
        return cls.from_bytes(_content(path, "Train it again"), str(path))


def read_bank(entry: Path, card: Card) -> Bank:
    """Return the fingerprints of an entry of a model repository.

    Args:
        entry: its folder.
        card: its card; says which bank that is.

    Raises:
        CheckpointError: the model is no bank of fingerprints, or the file is missing or another one.
    """
    path, stated = entry / BANK_FILE, card.training.get(BANK_KEY)
    again = f"Export it again: harness export {card.name}"
    if stated is None:
        raise CheckpointError(problem(card.name, "a bank of fingerprints", f"a card without {BANK_KEY}", again))
    content = _content(path, again)
    digest = hashlib.sha256(content).hexdigest()
    if digest != stated:
        raise CheckpointError(problem(str(path), f"SHA-256 {stated}", digest, again))
    return Bank.from_bytes(content, str(path))


def _content(path: Path, do: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(problem(str(path), "a bank of fingerprints", error.strerror or str(error), do)) from error
