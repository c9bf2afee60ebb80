"""What a model is: its input, score space, provenance and parity verdict. Travels inside the model and its endpoint."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, PositiveInt

from harness.frozen import Frozen
from harness.images.preprocess import Preprocess

CARD_KEY = "discern.card"
"""Key of the card's JSON, both in the ONNX file's metadata and in the Triton entry's parameters."""

WEIGHTS_KEY = "discern.weights_sha256"
"""Key of the model file's SHA-256 in the Triton entry's parameters."""

DERIVED = ("gradient", "gradcam")
"""Tasks of entries made from another one, ``NAME.TASK``: they take more inputs than images, and no wildcard of another
task means them."""

NAME_PATTERN = r"^[a-z0-9_]+(\.[a-z0-9_]+)+$"

HEAD_PATTERN = r"^[a-z0-9_.\-]+$"


class Head(Frozen):
    """One score of a model: a detector has one, a bank of fingerprints one each.

    Attributes:
        name: the head's name, unique in its card.
        trained_on: subsets whose fakes it was trained on; its in-domain cells.
        threshold: oriented scores above it mean fake, as found in training (never on a test split).
    """

    name: str = Field(pattern=HEAD_PATTERN)
    trained_on: tuple[str, ...] = ()
    threshold: float = 0.0


LAYERS_NEAR = 0.9999
"""Share of the values of a quantized graph's layers that must lie within one step of the source's. Not all of them can:
on x86, torch's own depthwise kernels add two products in 16 bits, which saturate now and then."""


class Parity(Frozen):
    """How the exported graph answers beside its source on probe images.

    Attributes:
        probes: number of probe images.
        torch_max_abs: largest |torch - ONNX Runtime| over all scores; like the other differences of logits, in units
            of the image's largest score where that is beyond 1.
        batch_max_abs: largest |batch 1 - batch N| over all scores in ONNX Runtime.
        served_max_abs: largest |ONNX Runtime - served|; None where no server could be started.
        flips: decisions that differ between any two of them; of a quantized model, between any two that run the graph.
        tolerance: what the differences were held against.
        agreement: share of the probes that a quantized graph decides as its source, whose own kernels round otherwise;
            None where every score is held against the source's.
        layers_equal: share of all the layers' values that are the source's exactly, each layer asked with the source's
            own input; None where layers were not compared.
        layers_near: share of them that are at most one quantization step off.
    """

    probes: PositiveInt
    torch_max_abs: float
    batch_max_abs: float
    served_max_abs: float | None
    flips: int
    tolerance: float
    agreement: float | None = None
    layers_equal: float | None = None
    layers_near: float | None = None

    @property
    def passed(self) -> bool:
        """Whether every difference is within tolerance, no decision flipped, and layers are their source's."""
        differences = [self.batch_max_abs, self.served_max_abs or 0.0]
        if self.agreement is None:
            differences.append(self.torch_max_abs)
        near = self.layers_near is None or self.layers_near >= LAYERS_NEAR
        return all(value <= self.tolerance for value in differences) and self.flips == 0 and near


class Card(Frozen):
    """Metadata of one model, ``architecture.tag``.

    Attributes:
        name: ``dif.miniature``; lower case, at least one dot.
        task: what its answers mean; an ``embedding`` is a vector without meaning of its own; a ``gradient`` entry
            answers with a classifier's logits, a loss and its gradient; a ``gradcam`` entry with a model's scores and
            where it looks. Both have more inputs than ``input`` (DERIVED).
        summary: one sentence.
        preprocess: what turns a decoded image into ``input``.
        represent: canonical id of what it is asked about in place of the image (``artifact space=rgb``); empty: the
            image itself.
        reference: identity of the reference that artifacts are taken against; empty where it needs none.
        input: name of the input tensor; batch first.
        output: name of the output tensor, float32 (batch, heads).
        score: space of the scores.
        fake: whether fake lies at the high or the low end of the scores.
        heads: the scores in output order.
        classes: class names of a classifier in output order, or the sources that an attributor knows; else empty. With
            classes, heads mean nothing.
        dimensions: of an embedding; None for all others.
        licence: SPDX id, or the words of the source.
        source: where the weights come from.
        training: facts of the training (digest of its data, revision, metrics), free-form.
        claims: published figures, by ``metric@subset``.
        parity: verdict of the export; None only for models not exported here.
    """

    name: str = Field(pattern=NAME_PATTERN)
    task: Literal["detection", "classification", "attribution", "embedding", "gradient", "gradcam"] = "detection"
    summary: str = ""
    preprocess: Preprocess = Preprocess()
    represent: str = ""
    reference: str = ""
    input: str = "image"
    output: str = "score"
    score: Literal["logit", "probability", "statistic"] = "logit"
    fake: Literal["high", "low"] = "high"
    heads: tuple[Head, ...] = (Head(name="fake"),)
    classes: tuple[str, ...] = ()
    dimensions: PositiveInt | None = None
    licence: str = "unknown"
    source: str = ""
    training: dict[str, str | int | float] = {}
    claims: dict[str, float] = {}
    parity: Parity | None = None

    @property
    def outputs(self) -> int:
        """Number of scores an image: one a dimension, a class, or a head."""
        return self.dimensions or len(self.classes) or len(self.heads)

    def digest(self) -> str:
        """Return the SHA-256 of the card's canonical JSON, in hex."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
