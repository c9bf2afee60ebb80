"""The classifiers of torchvision that can be exported: float, or quantized eagerly; weights by name, file or seed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.ao.quantization as ao
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval
from torchvision import models
from torchvision.models import quantization as quantizable

from export.checkpoints import read_tensors
from export.torchscript import ScriptObject, read_script
from harness.errors import CheckpointError, problem
from harness.images.preprocess import Preprocess

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and standard deviation of inputs in [0, 1]; Inception's are what `transform_input` makes of the others."""


CONVOLUTION = 15
"""Values in the state of a scripted convolution; weights, bias, scale and zero point stand before the last one."""

SPREAD = 2.0
"""Standard deviation of a seeded network's logits, about a trained one's."""


@dataclass(frozen=True)
class Architecture:
    """One network of torchvision.

    Attributes:
        build: makes it without weights, in float.
        weights: torchvision's enumeration of its weights.
        quantizable: makes the variant that can be quantized eagerly; None where torchvision has none.
        quantized_weights: the enumeration of that.
        resize, crop: of its preprocessing in pixels.
        statistics: mean and standard deviation.
    """

    build: Callable[[], nn.Module]
    weights: type[models.WeightsEnum]
    quantizable: Callable[[], nn.Module] | None = None
    quantized_weights: type[models.WeightsEnum] | None = None
    resize: int = 256
    crop: int = 224
    statistics: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET

    @property
    def preprocess(self) -> Preprocess:
        """Pixels to RGB in [0, 1], channels first; normalisation is the graph's."""
        return Preprocess(resize=self.resize, crop=self.crop, dtype="float32", layout="NCHW")


def _inception(build: Callable[..., nn.Module]) -> nn.Module:
    """Build Inception v3 without what only its training needs."""
    network: Any = build(weights=None, aux_logits=True, transform_input=False, init_weights=False)
    network.AuxLogits, network.aux_logits = None, False
    return cast(nn.Module, network)


ARCHITECTURES: Mapping[str, Architecture] = {
    "resnet50": Architecture(
        lambda: models.resnet50(weights=None),
        models.ResNet50_Weights,
        lambda: quantizable.resnet50(weights=None, quantize=False),
        quantizable.ResNet50_QuantizedWeights,
    ),
    "resnext101_32x8d": Architecture(
        lambda: models.resnext101_32x8d(weights=None),
        models.ResNeXt101_32X8D_Weights,
        lambda: quantizable.resnext101_32x8d(weights=None, quantize=False),
        quantizable.ResNeXt101_32X8D_QuantizedWeights,
    ),
    "inception_v3": Architecture(
        lambda: _inception(models.inception_v3),
        models.Inception_V3_Weights,
        lambda: _inception(quantizable.inception_v3),
        quantizable.Inception_V3_QuantizedWeights,
        resize=342,
        crop=299,
        statistics=CENTRED,
    ),
    "mobilenet_v2": Architecture(
        lambda: models.mobilenet_v2(weights=None),
        models.MobileNet_V2_Weights,
        lambda: quantizable.mobilenet_v2(weights=None, quantize=False),
        quantizable.MobileNet_V2_QuantizedWeights,
    ),
    "squeezenet1_1": Architecture(lambda: models.squeezenet1_1(weights=None), models.SqueezeNet1_1_Weights),
}


class Normalised(nn.Module):
    """A network behind its normalisation: RGB in [0, 1], (N, 3, H, W), to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        mean, std = architecture.statistics
        self.body = body
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        logits: Tensor = self.body((image - self.mean) / self.std)
        return logits


def float_network(architecture: Architecture, weights: str) -> Normalised:
    """Build a float classifier for inference.

    Args:
        architecture: which.
        weights: a name of torchvision's (``DEFAULT``), a file of a state dict, or ``seeded:N``: random ones that are
            the same everywhere, with batch statistics of a network that has seen noise.

    Raises:
        CheckpointError: weights that can't be had, or not all of this network's and no others.
    """
    network = architecture.build().eval()
    if weights.startswith("seeded:"):
        seed_weights(network, _seed(weights), architecture)
        return Normalised(network, architecture).eval()
    state = _state(architecture.weights, weights)
    state = {key: value for key, value in state.items() if not key.startswith("AuxLogits.")}
    if not any("running_mean" in key for key in state) and any("running_mean" in key for key in network.state_dict()):
        fold_batch_norm(network)
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise _unfit(weights, str(error)) from error
    return Normalised(network, architecture).eval()


def quantized_network(architecture: Architecture, weights: str) -> Normalised:
    """Build a classifier quantized eagerly, as torchvision does it: int8 weights per channel, uint8 between operations.

    Args:
        architecture: which.
        weights: a name of torchvision's quantized ones (``DEFAULT``), a file of a TorchScript module or of a state
            dict, or ``seeded:N``: the float network of that seed, quantized after seeing noise.

    Raises:
        CheckpointError: weights that can't be had or don't fit, or a network that torchvision can't quantize.
    """
    if architecture.quantizable is None or architecture.quantized_weights is None:
        raise CheckpointError(
            problem("quantized network", "one that torchvision can quantize", "another", "Use the tag ort_int8")
        )
    torch.backends.quantized.engine = "x86" if "x86" in torch.backends.quantized.supported_engines else "fbgemm"
    network = architecture.quantizable().eval()
    seeded = weights.startswith("seeded:")
    if seeded:
        seed_weights(network, _seed(weights), architecture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cast(Any, network).fuse_model(is_qat=False)
        network.qconfig = ao.get_default_qconfig(torch.backends.quantized.engine)
        ao.prepare(network, inplace=True)
        with torch.no_grad():
            network(noise(4, architecture, 1) if seeded else torch.zeros(1, 3, architecture.crop, architecture.crop))
        ao.convert(network, inplace=True)
    if not seeded:
        _load_quantized(network, architecture.quantized_weights, weights)
    return Normalised(network.eval(), architecture).eval()


def fold_batch_norm(network: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place; what is left of it is the identity."""
    for parent in list(network.modules()):
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous and isinstance(previous[1], nn.Conv2d):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1].eval(), child.eval()))
                setattr(parent, name, nn.Identity())
            previous = (name, child)


def seed_weights(network: nn.Module, seed: int, architecture: Architecture) -> None:
    """Draw weights (He et al., ICCV 2015), and set batch statistics and the logits' spread from noise images."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    images = noise(4, architecture, seed)
    with torch.no_grad():
        network(images)
        network.eval()
        last = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1]
        last.weight.mul_(SPREAD / network(images).std())


def noise(count: int, architecture: Architecture, seed: int) -> Tensor:
    """Return normalised inputs (count, 3, crop, crop) of coarse and fine noise."""
    generator = torch.Generator().manual_seed(seed)
    side = architecture.crop
    coarse = torch.rand((count, 3, 8, 8), generator=generator)
    image = nn.functional.interpolate(coarse, (side, side), mode="bilinear") * 0.8
    return (image + 0.2 * torch.rand((count, 3, side, side), generator=generator) - 0.45) / 0.225


def _seed(weights: str) -> int:
    said = weights.removeprefix("seeded:")
    if not said.isdigit():
        raise CheckpointError(problem("weights", "seeded:N with a whole number", repr(weights), "Write seeded:0"))
    return int(said)


def _state(names: type[models.WeightsEnum], weights: str) -> dict[str, Tensor]:
    """Return a state dict by torchvision's name, or from a file; nothing in it is executed."""
    if weights in names.__members__:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return dict(names[weights].get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:
            do = "Fetch the file where there is a network and give its path, or use --weights seeded:0"
            raise CheckpointError(
                problem(f"weights {names.__name__}.{weights}", "a download", str(error), do)
            ) from error
    path = Path(weights)
    if not path.is_file():
        known = ", ".join(names.__members__)
        raise CheckpointError(problem("weights", f"a file, seeded:N or one of {known}", repr(weights), "Correct it"))
    said = read_tensors(path, "a state dict of tensors", "Save state_dict() alone")
    said = said.get("state_dict", said) if isinstance(said, dict) else said
    if not isinstance(said, dict) or not any(isinstance(item, Tensor) for item in said.values()):
        raise CheckpointError(problem(str(path), "a state dict of tensors", type(said).__name__, "Save state_dict()"))
    return said


def _load_quantized(network: nn.Module, names: type[models.WeightsEnum], weights: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = read_script(Path(weights)) if Path(weights).is_file() else None
    if scripted is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.load_state_dict(_state(names, weights), strict=True)
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise _unfit(weights, str(error)) from error
        return
    theirs = dict(scripted.walk())
    for name, module in network.named_modules():
        if not hasattr(module, "scale"):
            continue
        try:
            packed, scale, zero_point = _said(theirs[name])
            if hasattr(module, "set_weight_bias"):
                module.set_weight_bias(*packed)
            tensors = isinstance(module.scale, Tensor)
            module.scale = scale if tensors else float(scale)
            module.zero_point = zero_point if tensors else int(zero_point)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _unfit(weights, f"{name or 'the network'}: {error}") from error
    layers = sum(bool(_said(found)[0]) for found in theirs.values())
    ours = sum(hasattr(module, "set_weight_bias") and hasattr(module, "scale") for module in network.modules())
    if layers != ours:
        raise _unfit(weights, f"{layers} packed layers, {ours} wanted")


def _said(found: ScriptObject) -> tuple[tuple[Any, ...], Any, Any]:
    """Return int8 weights and float bias of a scripted layer, none where it has none, its scale and its zero point."""
    if isinstance(found.state, tuple) and len(found.state) == CONVOLUTION:
        return found.state[-5:-3], *found.state[-3:-1]
    linear = found.get("_packed_params")
    inner = linear.get("_packed_params") if isinstance(linear, ScriptObject) else None
    packed = inner.state if isinstance(inner, ScriptObject) else ()
    return packed, found.get("scale"), found.get("zero_point")


def _unfit(weights: str, what: str) -> CheckpointError:
    line = " ".join(what.split())[:300]
    return CheckpointError(problem(f"weights {weights}", "all of the network's and no others", line, "Check the name"))
