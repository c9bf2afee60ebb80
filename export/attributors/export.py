"""From a method of attribution and trained weights to what the catalogue exports; trains and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.attributors.attributor import Attributor
from export.built import Built
from export.detectors.architecture import Scale
from harness.card import Card
from harness.errors import CheckpointError, problem
from harness.images.preprocess import Preprocess

TOLERANCE = {"logit": 1e-3, "statistic": 1e-4}
"""Of a score. Logits as detectors'; a correlation is a sum over all pixels, which is exact to about 1e-6."""


def attributor_built(
    method: Attributor,
    scale: Scale,
    state: Mapping[str, Tensor],
    *,
    name: str,
    summary: str,
    classes: Sequence[str],
    represent: str,
    reference: str,
    preprocess: Preprocess,
    probes: NDArray[np.uint8] | NDArray[np.float32],
    training: Mapping[str, str | int | float],
    licence: str = "Apache-2.0",
) -> Built:
    """Return a trained attributor as it is served, with its card.

    Args:
        method: what the weights are of.
        scale: which size of it.
        state: the network's state dict, all of it.
        name: of the entry.
        summary: one sentence.
        classes: the sources that it tells apart, in output order.
        represent: canonical id of what it is asked about; empty: images.
        reference: identity of the reference that artifacts are taken against; empty where none are.
        preprocess: what makes a tested image uint8 (H, W, 3) of the size that it was trained on.
        probes: inputs that its parity is found on, (N, ...); their shape is the graph's.
        training: facts of the training.
        licence: of the weights; SPDX id.

    Raises:
        CheckpointError: the weights are not this network's.
    """
    network = method.build(scale, probes.shape[1:], len(classes))
    try:
        network.load_state_dict(dict(state), strict=True)
    except (RuntimeError, TypeError) as error:
        got, do = " ".join(str(error).split())[:300], "Check the method, the scale and the sources"
        raise CheckpointError(problem(f"weights of {name}", f"{scale} {method.name}'s", got, do)) from error
    card = Card(
        name=name,
        task="attribution",
        summary=summary,
        preprocess=preprocess,
        represent=represent,
        reference=reference,
        input="representation" if represent else "image",
        output="score",
        score=method.score,
        heads=(),
        classes=tuple(classes),
        licence=licence,
        source=method.source,
        training=dict(training),
    )
    return Built(network.eval(), card, TOLERANCE[method.score], inputs=probes)
