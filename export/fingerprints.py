"""DIF detection as one network: residual filter once, then correlation with every fingerprint of a bank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from export.bank import Bank
from harness.card import Card, Head
from harness.errors import CheckpointError, problem
from harness.images.preprocess import Preprocess

FLOOR = 1e-5
"""Root mean square of a residual, in [0, 1] images, below which it is rounding and not a trace."""


class DifBank(nn.Module):
    """Pixels to oriented scores (Sinitsa and Fried, WACV 2024, with its evaluation's nearest-centre rule).

    The score of fingerprint k is ``(rho_k - (mu_real + mu_fake) / 2) * sign(mu_fake - mu_real)`` with rho_k the Pearson
    correlation of residual and fingerprint: above 0 the image is nearer to the fakes' centre. A residual fainter than
    ``FLOOR`` is divided by the floor instead of its own length, so that a constant image has correlation 0.

    Args:
        residual: filter, (N, 3, H, W) in [0, 1] -> the same shape.
        bank: the fingerprints.

    Raises:
        CheckpointError: a fingerprint is constant, or its two centres are equal.
    """

    def __init__(self, residual: nn.Module, bank: Bank) -> None:
        super().__init__()
        flat = torch.from_numpy(bank.fingerprints).double().flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        length = flat.norm(dim=1)
        sign = torch.from_numpy(np.sign(bank.mu_fake.astype(np.float64) - bank.mu_real))
        for name, usable in zip(bank.names, (length > 0) & (sign != 0), strict=True):
            if not usable:
                raise CheckpointError(
                    problem(
                        f"fingerprint {name}", "a pattern with two centres", "a constant, or equal centres", "Train it"
                    )
                )
        middle = torch.from_numpy((bank.mu_real.astype(np.float64) + bank.mu_fake) / 2)
        self.residual = residual
        self.floor = FLOOR * flat.shape[1] ** 0.5
        self.register_buffer("templates", (flat * (sign / length)[:, None]).T.float().contiguous())
        self.register_buffer("offsets", (-sign * middle).float())

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 (N, H, W, 3) -> float32 (N, K), oriented and centred."""
        residual = self.residual(image.permute(0, 3, 1, 2).float() / 255.0).flatten(1)
        residual = residual - residual.mean(dim=1, keepdim=True)
        length = torch.linalg.vector_norm(residual, dim=1, keepdim=True).clamp_min(self.floor)
        score: Tensor = residual @ self.templates / length + self.offsets
        return score


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
    """Return the card of a bank: a square centre crop, one head a fingerprint, fake above 0.

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
        preprocess=Preprocess(crop=height, dtype="uint8", layout="NHWC"),
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
