"""From a float classifier's graph to one that also answers with a loss and its gradient by the image.

White-box search so runs against a served model, without torch. Trains nothing: no gradient by a weight is ever taken.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from export.adjoints import differentiate
from export.tape import Tape, check_vacant, finished
from harness.card import Card
from harness.errors import CardError, problem

TARGET, MODE, TEMPERATURE = "target", "mode", "temperature"
"""The inputs beside the card's."""

LOSS, GRADIENT = "loss", "gradient"
"""The outputs beside the card's."""


class Mode(IntEnum):
    """Which loss an image asks for: the values of the input ``mode``."""

    KL = 0
    MARGIN = 1


def gradient_graph(model: onnx.ModelProto, card: Card) -> onnx.ModelProto:
    """Return a graph that answers with logits, a loss an image, and each loss's gradient by its own image.

    Every image chooses its loss, so that a server can batch requests for either. Inputs:

    - the card's input, float32 (batch, 3, H, W), RGB in [0, 1];
    - ``target`` float32 (batch, classes): for KL the logits of the other model; for a margin its largest value, the
      first of equals, names the label (one-hot, say);
    - ``mode`` int32 (batch, 1): 0 for KL, else a margin (`Mode`);
    - ``temperature`` float32 (batch, 1): T of KL, above 0; a margin takes no notice of it.

    Outputs:

    - the card's output, float32 (batch, classes), as the given model has it;
    - ``loss`` float32 (batch, 1): KL(softmax(target / T) || softmax(logits / T)), summed over classes and not scaled by
      T squared; or the logit of the label minus the largest other one;
    - ``gradient`` float32 (batch, 3, H, W): of an image's loss by that image. Kinks are torch's: nothing passes where a
      rectifier is at zero or a clip at a bound, and the first of equal pixels or logits is the largest.

    Args:
        model: float, of the card's one input and one output, from `write_onnx`; left as it is.
        card: names them, and becomes the metadata.

    Raises:
        CardError: the graph has other inputs or outputs than the card says, or fewer than two classes.
        CheckpointError: an operation whose derivative is not known, or a shape that can't be inferred.
    """
    names = ([item.name for item in model.graph.input], [item.name for item in model.graph.output])
    if names != ([card.input], [card.output]):
        raise CardError(
            problem(f"card {card.name}", f"the graph's tensors {names}", f"{card.input}, {card.output}", "Correct it")
        )
    tape = Tape(model)
    check_vacant(tape.model, (TARGET, MODE, TEMPERATURE, LOSS, GRADIENT))
    image, logits = tape.shape(card.input), tape.shape(card.output)
    if len(logits) != 2 or logits[1] is None or logits[1] < 2:
        raise CardError(problem(f"output {card.output}", "(batch, classes)", str(logits), "Give a classifier"))
    loss, by_logits = _losses(tape, card.output, logits[1])
    gradient = differentiate(tape, of=card.output, by=card.input, seed=by_logits)
    tape.add("Identity", loss, names=[LOSS])
    tape.add("Identity", gradient, names=[GRADIENT])
    graph = tape.model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.input.extend(
        [
            make_tensor_value_info(TARGET, TensorProto.FLOAT, [batch, logits[1]]),
            make_tensor_value_info(MODE, TensorProto.INT32, [batch, 1]),
            make_tensor_value_info(TEMPERATURE, TensorProto.FLOAT, [batch, 1]),
        ]
    )
    graph.output.extend(
        [
            make_tensor_value_info(LOSS, TensorProto.FLOAT, [batch, 1]),
            make_tensor_value_info(GRADIENT, TensorProto.FLOAT, [batch, *image[1:]]),
        ]
    )
    return finished(tape.model, card, f"{card.name} with gradient")


def _losses(tape: Tape, logits: str, classes: int) -> tuple[str, str]:
    """Append both losses and their derivatives by the logits.

    Returns:
        Names of the loss (batch, 1) and its derivative (batch, classes).
    """
    kl, kl_by_logits = _kl(tape, logits)
    margin, margin_by_logits = _margin(tape, logits, classes)
    is_kl = tape.one("Equal", MODE, tape.store(np.int32(Mode.KL)))
    return tape.one("Where", is_kl, kl, margin), tape.one("Where", is_kl, kl_by_logits, margin_by_logits)


def _kl(tape: Tape, logits: str) -> tuple[str, str]:
    """Append the divergence, and (softmax(logits / T) - softmax(target / T)) / T."""
    ours, theirs = (tape.one("LogSoftmax", tape.one("Div", name, TEMPERATURE), axis=-1) for name in (logits, TARGET))
    q, p = tape.one("Exp", ours), tape.one("Exp", theirs)
    terms = tape.one("Mul", p, tape.one("Sub", theirs, ours))
    loss = tape.one("ReduceSum", terms, tape.ints([1]), keepdims=1)
    return loss, tape.one("Div", tape.one("Sub", q, p), TEMPERATURE)


def _margin(tape: Tape, logits: str, classes: int) -> tuple[str, str]:
    """Append the margin, and one-hot of the label minus one-hot of its best rival."""

    def one_hot(scores: str) -> str:
        best = tape.one("ArgMax", scores, axis=1, keepdims=1)
        return tape.one("Equal", tape.store(np.arange(classes)[None]), best)

    label = one_hot(TARGET)
    others = tape.one("Where", label, tape.store(np.float32(-np.inf)), logits)
    own = tape.one("Where", label, logits, tape.store(np.float32(-np.inf)))
    axis = tape.ints([1])
    loss = tape.one("Sub", *(tape.one("ReduceMax", scores, axis, keepdims=1) for scores in (own, others)))
    hots = (tape.one("Cast", mask, to=TensorProto.FLOAT) for mask in (label, one_hot(others)))
    return loss, tape.one("Sub", *hots)
