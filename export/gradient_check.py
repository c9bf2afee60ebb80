"""Compares a gradient's graph with torch's autograd, and says what of the difference is rounding at a network's kinks.

Where a rectifier's input is nearly zero, one float32 pass calls it on and another off, and every gradient behind it
differs. So float64 is asked twice: once freely, and once taking the decisions (rectifier, clip, maximum) of the graph;
what is left then is the graph's own error. Never changes a file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from export.gradient import GRADIENT, MODE, TARGET, TEMPERATURE, Mode
from harness.card import Card
from harness.errors import ParityError, problem

Array = NDArray[Any]

KINKS = {"Relu": 0, "Clip": 0, "MaxPool": 1}
"""Operations that decide something, and which of their outputs shows what."""


@dataclass(frozen=True)
class Errors:
    """Relative L2 distances of one loss's gradients, each the largest of any image's.

    Attributes:
        torch32: from the graph to torch in float32.
        torch64: from the graph to torch in float64.
        yardstick: from torch in float32 to torch in float64: what float32 costs without any graph.
        rounding: from the graph to float64 that takes the graph's decisions; what torch64 has above it is of decisions.
    """

    torch32: float
    torch64: float
    yardstick: float
    rounding: float


@dataclass(frozen=True)
class GradientParity:
    """How a gradient's graph compares with autograd on probe images.

    Attributes:
        probes: number of images.
        logits: largest |graph - torch float32| over all logits.
        kl, margin: of either loss.
        decisions: how many rectifiers, clipped values and pooled windows all the images have.
        flipped: how many of them the graph decides otherwise than float64 behind the same earlier decisions.
    """

    probes: int
    logits: float
    kl: Errors
    margin: Errors
    decisions: int
    flipped: int

    def explained(self, tolerance: float = 1e-3) -> bool:
        """Return whether nothing but decisions on a kink sets the graph apart from float64."""
        return max(self.kl.rounding, self.margin.rounding) <= tolerance

    def words(self) -> str:
        """Return the figures as one line."""
        losses = "; ".join(
            f"{name} {item.torch32:.2g} from torch32, {item.torch64:.2g} from torch64 (torch32 itself "
            f"{item.yardstick:.2g}), {item.rounding:.2g} once float64 decides every kink alike"
            for name, item in (("KL", self.kl), ("margin", self.margin))
        )
        flipped = f"{self.flipped} of {self.decisions} decisions flipped"
        return f"logits {self.logits:.2g}; {losses}; {flipped}, over {self.probes} images"


def check_gradient(
    network: nn.Module, model: Path, card: Card, inputs: Array, *, temperature: float = 1.0, seed: int = 0
) -> GradientParity:
    """Compare a graph's gradients with autograd's, image by image; on one processor, with ONNX Runtime.

    KL is taken to seeded logits of the network's own spread; the margin is that of the class that the network says.

    Args:
        network: the source of the graph, float32.
        model: a file of what `gradient_graph` returns.
        card: of both.
        inputs: probe images, float32 (N, 3, H, W).
        temperature: T of KL.
        seed: of the targets.

    Raises:
        ParityError: the network does not decide in as many places as the graph. Errors, however large, do not raise.
    """
    single, double = _frozen(network), _frozen(network).double()
    graph = onnx.load(model)
    seen = [node.output[KINKS[node.op_type]] for node in graph.graph.node if node.op_type in KINKS]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in seen)
    plain, watched = _session(str(model)), _session(graph.SerializeToString())
    del graph
    random = np.random.default_rng(seed)
    found: dict[Mode, list[tuple[float, ...]]] = {Mode.KL: [], Mode.MARGIN: []}
    decisions = flipped = 0
    distance = 0.0
    for image in inputs:
        logits = _logits(single, image)
        targets = np.stack([random.normal(0, logits.std(), logits.shape), np.eye(len(logits))[logits.argmax()]])
        feed = {
            card.input: np.stack([image, image]),
            TARGET: targets.astype(np.float32),
            MODE: np.array([[Mode.KL], [Mode.MARGIN]], np.int32),
            TEMPERATURE: np.full((2, 1), temperature, np.float32),
        }
        answered, gradients = plain.run([card.output, GRADIENT], feed)
        distance = max(distance, float(np.abs(answered - logits).max()))
        own, *chosen = watched.run([GRADIENT, *seen], feed)
        losses = [kl_loss(torch.from_numpy(feed[TARGET][:1]), temperature), margin_loss(int(logits.argmax()))]
        known32, known64 = by_image(single, image, losses), by_image(double, image, losses)
        with Replay(item[:1] for item in chosen) as replay:
            alike = by_image(double, image, losses)
        if replay.left():
            raise _different("more in the graph")
        decisions, flipped = decisions + replay.decisions, flipped + replay.flipped
        for mode in Mode:
            found[mode].append(
                (
                    _relative(gradients[mode], known32[mode]),
                    _relative(gradients[mode], known64[mode]),
                    _relative(known32[mode], known64[mode]),
                    _relative(own[mode], alike[mode]),
                )
            )
    worst = {mode: Errors(*map(max, zip(*rows, strict=True))) for mode, rows in found.items()}
    return GradientParity(len(inputs), distance, worst[Mode.KL], worst[Mode.MARGIN], decisions, flipped)


Loss = Callable[[Tensor], Tensor]
"""From logits (1, classes) to one number."""


def by_image(network: nn.Module, image: Array, losses: Sequence[Loss]) -> list[Array]:
    """Return autograd's gradients (3, H, W) of losses by one image, in the network's precision."""
    taken = torch.from_numpy(image[None]).to(next(network.parameters()).dtype).requires_grad_()
    logits = network(taken)
    return [torch.autograd.grad(loss(logits), taken, retain_graph=True)[0][0].numpy() for loss in losses]


def kl_loss(target: Tensor, temperature: float) -> Loss:
    """Return KL(softmax(target / T) || softmax(logits / T)), summed over classes."""
    return lambda logits: F.kl_div(
        (logits / temperature).log_softmax(1),
        (target.to(logits.dtype) / temperature).log_softmax(1),
        reduction="sum",
        log_target=True,
    )


def margin_loss(label: int) -> Loss:
    """Return the logit of a label minus the largest other one."""

    def loss(logits: Tensor) -> Tensor:
        rival = logits.detach().clone()
        rival[:, label] = -torch.inf
        return (logits[:, label] - logits[:, int(rival.argmax())]).sum()

    return loss


class Replay(TorchFunctionMode):
    """Makes torch take decisions that were taken elsewhere, in order of execution.

    A rectifier or a clip passes where told and is what it was told elsewhere; a window's maximum is the pixel told.

    Attributes:
        decisions: taken so far.
        flipped: how many of them torch would have taken otherwise.
    """

    def __init__(self, told: Iterable[Array]) -> None:
        super().__init__()
        self.decisions = self.flipped = 0
        self._told: Iterator[Array] = iter(told)

    def left(self) -> bool:
        """Return whether decisions are left that nobody asked for."""
        return next(self._told, None) is not None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        said = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if name in ("relu", "relu6", "hardtanh"):
            low = 0.0 if name != "hardtanh" else float(said.get("min_val", args[1] if len(args) > 1 else -1.0))
            high = {"relu": np.inf, "relu6": 6.0}.get(name)
            high = float(said.get("max_val", args[2] if len(args) > 2 else 1.0)) if high is None else high
            return self._passed(args[0], low, high)
        if name == "max_pool2d":
            return self._pooled(func, *args, **said)
        return func(*args, **said)

    def _passed(self, image: Tensor, low: float, high: float) -> Tensor:
        told = torch.from_numpy(self._next())
        inside = (told > low) & (told < high)
        self._count(inside, (image > low) & (image < high))
        return torch.where(inside, image, told.to(image.dtype))

    def _pooled(self, func: Any, image: Tensor, *args: Any, **said: Any) -> Tensor:
        flat = image.flatten(2)
        told = torch.from_numpy(self._next()) % flat.shape[2]
        said.pop("return_indices", None)
        _, own = F.max_pool2d(image.detach(), *args, return_indices=True, **said)
        self._count(told, own)
        return flat.gather(2, told.flatten(2)).reshape(told.shape)

    def _next(self) -> Array:
        told = next(self._told, None)
        if told is None:
            raise _different("fewer in the graph")
        return told

    def _count(self, told: Tensor, own: Tensor) -> None:
        self.decisions += told.numel()
        self.flipped += int((told != own).sum())


def _different(got: str) -> ParityError:
    do = "Give the network that the graph comes from"
    return ParityError(problem("gradient", "a rectifier, clip or maximum of torch for each of the graph", got, do))


def _logits(network: nn.Module, image: Array) -> Array:
    with torch.no_grad():
        return network(torch.from_numpy(image[None]))[0].numpy()  # type: ignore[no-any-return]


def _frozen(network: nn.Module) -> nn.Module:
    """Return a copy for inference whose weights take no gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def _session(model: str | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _relative(found: Array, known: Array) -> float:
    """Return the L2 distance over what is known's own norm; infinite where that alone is zero."""
    distance, norm = float(np.linalg.norm(found.astype(np.float64) - known)), float(np.linalg.norm(known))
    return distance / norm if norm else np.inf if distance else 0.0
