"""From a detector's architecture and trained weights to what the catalogue exports; trains and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from export.built import Built
from export.detectors.architecture import Architecture, Scale, Served
from harness.card import Card, Head
from harness.errors import CheckpointError, problem

LOGIT_TOLERANCE = 1e-3
"""Of a logit. Networks with batch statistics of photographs and logits spread by 2 differ from torch by at most 3e-5 as
miniatures and 8e-5 in full (F3Net), on flat, striped and noisy images too; trained logits may be ten times as large. A
logit wrong by this moves a probability by less than 0.0003."""


def detector_built(
    architecture: Architecture,
    scale: Scale,
    state: Mapping[str, Tensor],
    *,
    tag: str,
    summary: str,
    trained_on: tuple[str, ...],
    threshold: float,
    training: Mapping[str, str | int | float],
    licence: str = "Apache-2.0",
    source: str = "export/training",
) -> Built:
    """Return a trained detector as it is served, with its card.

    Args:
        architecture: what the weights are of.
        scale: which size of it.
        state: the network's state dict, all of it.
        tag: last part of the entry's name.
        summary: one sentence.
        trained_on: subsets whose fakes it was trained on.
        threshold: logits above it mean fake, as found on validation images.
        training: facts of the training.
        licence: of the weights; SPDX id.
        source: where the weights come from.

    Raises:
        CheckpointError: the weights are not this network's.
    """
    network = architecture.build(scale, False)
    name = f"{architecture.name}.{tag}"
    try:
        network.load_state_dict(dict(state), strict=True)
    except (RuntimeError, TypeError) as error:
        got, do = " ".join(str(error).split())[:300], "Check the architecture and the scale"
        raise CheckpointError(problem(f"weights of {name}", f"{scale} {architecture.name}'s", got, do)) from error
    card = Card(
        name=name,
        task="detection",
        summary=summary,
        preprocess=architecture.preprocess[scale],
        input="image",
        output="score",
        score="logit",
        fake="high",
        heads=(Head(name="fake", trained_on=trained_on, threshold=threshold),),
        licence=licence,
        source=source,
        training=dict(training),
    )
    return Built(Served(network).eval(), card, LOGIT_TOLERANCE)
