"""How each generator of the miniature corpora is built and trained, in words; never builds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FAMILIES = ("autoencoder", "gan", "flow", "diffusion")
"""Kinds of generators, in the order of reports."""


@dataclass(frozen=True)
class Design:
    """The choices behind a generator, by which fingerprints may be clustered (as in ManiFPT, arXiv 2402.10401).

    Attributes:
        family: one of FAMILIES.
        up: how it comes back to full size: ``transposed`` convolution, ``nearest``, ``bilinear``, pixel ``shuffle``.
        norm: of its weights: ``none``, ``weight`` (Salimans & Kingma 2016) or ``spectral`` (Miyato et al. 2018).
        nonlinearity: ``relu`` or ``leaky`` (slope 1/4); both clipped.
        loss: what drove its training: ``l1`` or ``l2`` (of pixels, or of a flow's latent), or ``adversarial``.
        skip: what bypasses the depth: ``none``, features of ``half`` size, or the ``input`` itself.
    """

    family: str
    up: str
    norm: str
    nonlinearity: str
    loss: str
    skip: str


PARENTS: Mapping[str, str] = {
    "gan_child1": "gan",
    "gan_child2": "gan",
    "nearest_child1": "nearest",
    "nearest_child2": "nearest",
}
"""Generators that were fine-tuned from another, whose design they share."""

_SCRATCH = {
    "deconv": Design("autoencoder", "transposed", "none", "relu", "l2", "none"),
    "nearest": Design("autoencoder", "nearest", "none", "relu", "l2", "none"),
    "bilinear": Design("autoencoder", "bilinear", "none", "relu", "l2", "none"),
    "shuffle": Design("autoencoder", "shuffle", "none", "relu", "l2", "none"),
    "vq": Design("autoencoder", "nearest", "none", "relu", "l2", "none"),
    "gan": Design("gan", "transposed", "none", "relu", "adversarial", "none"),
    "diffusion": Design("diffusion", "shuffle", "none", "relu", "l2", "none"),
    "flow": Design("flow", "shuffle", "none", "relu", "l1", "input"),
    "skip": Design("autoencoder", "bilinear", "weight", "relu", "l1", "half"),
    "gan_nearest": Design("gan", "nearest", "spectral", "relu", "adversarial", "half"),
    "gan_shuffle": Design("gan", "shuffle", "none", "leaky", "adversarial", "none"),
    "diffusion_once": Design("diffusion", "transposed", "spectral", "leaky", "l1", "input"),
    "flow_leaky": Design("flow", "shuffle", "weight", "leaky", "l2", "input"),
}

DESIGNS: Mapping[str, Design] = _SCRATCH | {child: _SCRATCH[parent] for child, parent in PARENTS.items()}
"""Every generator by name; children last."""
