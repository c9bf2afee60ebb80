"""DIF detection as one network: residual filter once, then correlation with every fingerprint of a bank."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from export.aligned import Aligned
from export.built import Built
from harness.card import Card, Head
from harness.data.sample import NATURE
from harness.errors import CheckpointError, problem
from harness.fingerprints.bank import BANK_FILE, BANK_KEY, Bank
from harness.images.preprocess import Preprocess

FLOOR = 1e-5
"""Root mean square of a residual, in [0, 1] images, below which it is rounding and not a trace."""

DIF_TOLERANCE = 2e-4
"""Of a correlation. The centres of published fingerprints lie 0.002 to 0.016 apart; float32 is exact to about 1e-6 on
photographs, and to 2e-4 on stripes, where the rounding errors of all pixels are the same few."""


class DifBank(nn.Module):
    """Pixels to oriented scores (Sinitsa and Fried, WACV 2024, with its evaluation's nearest-centre rule).

    The score of fingerprint k is ``(rho_k - (mu_real + mu_fake) / 2) * sign(mu_fake - mu_real)`` with rho_k the Pearson
    correlation of residual and fingerprint: above 0 the image is nearer to the fakes' centre. Of a bank with a reach,
    rho_k is that of all cyclic shifts of the residual within the reach that lies farthest in the fakes' direction; the
    largest of many is higher for reals too, so that its centres are others. A residual fainter than ``FLOOR`` is
    divided by the floor instead of its own length, so that a constant image has correlation 0.

    Args:
        residual: filter, (N, 3, H, W) in [0, 1] -> the same shape.
        bank: the fingerprints.

    Raises:
        CheckpointError: a fingerprint is constant, or its two centres are equal.
    """

    offsets: Tensor

    def __init__(self, residual: nn.Module, bank: Bank) -> None:
        super().__init__()
        flat = torch.from_numpy(bank.fingerprints).double().flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        length = flat.norm(dim=1)
        sign = torch.from_numpy(bank.signs).double()
        for name, usable in zip(bank.names, (length > 0) & (sign != 0), strict=True):
            if not usable:
                raise CheckpointError(
                    problem(
                        f"fingerprint {name}", "a pattern with two centres", "a constant, or equal centres", "Train it"
                    )
                )
        middle = torch.from_numpy((bank.mu_real.astype(np.float64) + bank.mu_fake) / 2)
        oriented = flat * (sign / length)[:, None]
        self.residual = residual
        self.floor = FLOOR * flat.shape[1] ** 0.5
        self.aligned = Aligned(oriented.reshape(bank.fingerprints.shape), bank.reach) if bank.reach else None
        self.register_buffer("templates", None if bank.reach else oriented.T.float().contiguous())
        self.register_buffer("offsets", (-sign * middle).float())

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 (N, K), oriented and centred."""
        return self.correlate(image) + self.offsets

    def correlate(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 (N, K), correlations oriented so that fakes' are the higher ones."""
        residual = self.residual(image.permute(0, 3, 1, 2).float() / 255.0)
        flat = residual.flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        length = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp_min(self.floor)
        product = flat @ self.templates if self.aligned is None else self.aligned(flat.reshape(residual.shape))
        correlation: Tensor = product / length
        return correlation


def aligned(bank: Bank, residual: nn.Module, batches: Mapping[str, Iterable[Tensor]], reach: int) -> Bank:
    """Return a bank that searches shifts, with the centres that it then has.

    Args:
        bank: the fingerprints, and which way each points.
        residual: filter.
        batches: training images by subset, uint8 (N, H, W, 3): ``nature`` and every fingerprint's own.
        reach: pixels.

    Raises:
        CheckpointError: over shifts a fingerprint no longer points the way it did.
    """
    module = DifBank(residual, replace(bank, reach=reach)).eval()
    with torch.no_grad():
        found = {name: torch.cat([module.correlate(batch) for batch in parts]) for name, parts in batches.items()}
    real = found[NATURE].mean(dim=0).numpy()
    fake = np.array([float(found[name][:, place].mean()) for place, name in enumerate(bank.names)], np.float32)
    for name, known in zip(bank.names, fake > real, strict=True):
        if not known:
            what, got = f"fingerprint {name} over shifts of {reach}", "higher correlations with reals"
            raise CheckpointError(problem(what, "higher correlations with its fakes", got, "Search fewer shifts"))
    return replace(bank, reach=reach, mu_real=bank.signs * real, mu_fake=bank.signs * fake)


def dif_built(
    name: str,
    stored: bytes,
    residual: nn.Module,
    *,
    summary: str,
    licence: str,
    source: str,
    training: Mapping[str, str | int | float],
    claims: Mapping[str, float],
) -> Built:
    """Return a bank over a filter, ready for export; its file goes beside the model.

    Args:
        name: of the entry.
        stored: the bank's file (:meth:`harness.fingerprints.bank.Bank.to_bytes`).
        residual: filter, ready for inference.
        summary, licence, source, training, claims: of the card; the training gets the file's digest, and the reach.

    Raises:
        CheckpointError: not a bank, or one that can't be used.
    """
    bank = Bank.from_bytes(stored, name)
    facts = {**training, BANK_KEY: hashlib.sha256(stored).hexdigest(), **({"reach": bank.reach} if bank.reach else {})}
    card = dif_card(name, bank, summary=summary, licence=licence, source=source, training=facts, claims=claims)
    return Built(DifBank(residual, bank), card, DIF_TOLERANCE, files={BANK_FILE: stored})


def dif_card(
    name: str,
    bank: Bank,
    *,
    summary: str,
    licence: str,
    source: str,
    training: Mapping[str, str | int | float],
    claims: Mapping[str, float],
) -> Card:
    """Return the card of a bank: a square centre crop, nothing smaller, one head a fingerprint, fake above 0.

    Raises:
        CheckpointError: the fingerprints are not square.
    """
    height, width = bank.fingerprints.shape[2:]
    if height != width:
        raise CheckpointError(
            problem(f"{name}: fingerprints", "squares", f"{height} x {width}", "Crop them in training")
        )
    return Card(
        name=name,
        task="detection",
        summary=summary,
        preprocess=Preprocess(crop=height, pad=False, dtype="uint8", layout="NHWC"),
        input="image",
        output="score",
        score="statistic",
        fake="high",
        heads=tuple(Head(name=item, trained_on=(item,), threshold=0.0) for item in bank.names),
        licence=licence,
        source=source,
        training=dict(training),
        claims=dict(claims),
    )
