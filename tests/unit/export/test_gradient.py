"""Gradients in ONNX against torch's autograd: operation by operation, loss by loss, and of whole classifiers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from torch import Tensor, nn
from torch.nn import functional as F

from export.adjoints import RULES, differentiate
from export.classifiers import ARCHITECTURES, Normalised, float_network
from export.gradient import Mode, gradient_graph
from export.gradient_check import check_gradient
from export.onnx import write_onnx
from export.tape import Tape
from export.triton import render_config
from harness.card import Card
from harness.errors import CardError, CheckpointError, ParityError

Array = NDArray[Any]
Constants = Mapping[str, Array]

SIDE = 64


def make(nodes: list[NodeProto], constants: Constants, x: Array, ranks: Mapping[str, Any]) -> onnx.ModelProto:
    """A model from ``image``, whose batch is free, to the named outputs of the given shapes."""
    inputs = [make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *x.shape[1:]])]
    outputs = [make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ranks.items()]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = make_graph(nodes, "made_up", inputs, outputs, weights)
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto | Path, feed: Mapping[str, Array]) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, dict(feed)), strict=True))


def assert_adjoint(nodes: list[NodeProto], constants: Constants, x: Array, torchs: Callable[[Tensor], Tensor]) -> None:
    """Hold nodes from ``image`` to ``y`` and their gradient against torch in float64, for a random cotangent."""
    known = torch.from_numpy(x).double().requires_grad_()
    y = torchs(known)
    seed = np.random.default_rng(1).normal(size=tuple(y.shape)).astype(np.float32)
    (gradient,) = torch.autograd.grad(y, known, torch.from_numpy(seed).double())
    model = make(nodes, constants, x, {"y": ["batch", *y.shape[1:]]})
    tape = Tape(model)
    found = differentiate(tape, of="y", by="image", seed="seed")
    graph = tape.model.graph
    graph.input.append(make_tensor_value_info("seed", TensorProto.FLOAT, ["batch", *y.shape[1:]]))
    graph.output.append(make_tensor_value_info(found, TensorProto.FLOAT, ["batch", *x.shape[1:]]))
    onnx.checker.check_model(tape.model, full_check=True)
    answers = answer(tape.model, {"image": x, "seed": seed})
    np.testing.assert_allclose(answers["y"], y.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answers[found], gradient, rtol=1e-4, atol=1e-4)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(*shape: int) -> Array:
    """Small whole numbers: many are equal, and many are zero."""
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)


pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kernel=pair,
    stride=small,
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    group=st.sampled_from([1, 2, 4]),
    biased=st.booleans(),
)
def test_convolution(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    group: int,
    biased: bool,
) -> None:
    top, left, bottom, right = pads
    padded = (size[0] + top + bottom, size[1] + left + right)
    assume(all((k - 1) * d < length for k, d, length in zip(kernel, dilation, padded, strict=True)))
    weights, bias = normal(8, 4 // group, *kernel, seed=2), normal(8, seed=3)
    constants = {"w": weights, "b": bias} if biased else {"w": weights}
    node = make_node(
        "Conv", ["image", *constants], ["y"], kernel_shape=kernel, strides=stride, dilations=dilation, pads=pads,
        group=group,
    )  # fmt: skip

    def torchs(x: Tensor) -> Tensor:
        given = torch.from_numpy(bias).double() if biased else None
        framed = F.pad(x, (left, right, top, bottom))
        return F.conv2d(framed, torch.from_numpy(weights).double(), given, stride, 0, dilation, group)

    assert_adjoint([node], constants, normal(2, 4, *size), torchs)


def assume_pool(*geometry: tuple[int, int]) -> None:
    """Assume what torch takes, and that no last window starts past the image: torch drops it, ONNX does not."""
    for size, kernel, stride, fill in zip(*geometry, strict=True):
        assume(2 * fill <= kernel)
        assume(ceil((size + 2 * fill - kernel) / stride) * stride < size + fill)


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kernel=pair,
    stride=small,
    fill=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil_mode=st.booleans(),
)
def test_max_pool_of_equal_pixels(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], fill: tuple[int, int], ceil_mode: bool
) -> None:
    assume_pool(size, kernel, stride, fill)
    node = make_node(
        "MaxPool", ["image"], ["y"], kernel_shape=kernel, strides=stride, pads=fill * 2, ceil_mode=ceil_mode
    )
    assert_adjoint([node], {}, whole(2, 3, *size), lambda x: F.max_pool2d(x, kernel, stride, fill, ceil_mode=ceil_mode))


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kernel=pair,
    stride=small,
    fill=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil_mode=st.booleans(),
    include=st.booleans(),
)
def test_average_pool(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    fill: tuple[int, int],
    ceil_mode: bool,
    include: bool,
) -> None:
    assume_pool(size, kernel, stride, fill)
    node = make_node(
        "AveragePool", ["image"], ["y"], kernel_shape=kernel, strides=stride, pads=fill * 2, ceil_mode=ceil_mode,
        count_include_pad=include,
    )  # fmt: skip
    assert_adjoint([node], {}, normal(2, 3, *size), lambda x: F.avg_pool2d(x, kernel, stride, fill, ceil_mode, include))


W, B, V = normal(5, 12, seed=4), normal(5, seed=5), np.abs(normal(3, seed=6)) + 0.5
SHIFT = normal(1, 3, 1, 1, seed=7)
CONSTANTS: Constants = {
    "w": W,
    "wt": np.ascontiguousarray(W.T),
    "b": B,
    "variance": V,
    "shift": SHIFT,
    "low": np.float32(-1).reshape(()),
    "high": np.float32(2).reshape(()),
    "flat": np.array([0, 12]),
    "axes": np.array([-1, 2]),
    "all": np.array([1, 2, 3]),
    "one": np.array([1]),
    "places": np.array([1, 1, 0, -1]),
}


def constant(name: str) -> Tensor:
    return torch.from_numpy(CONSTANTS[name]).double()


OPERATIONS: Mapping[str, tuple[list[NodeProto], Callable[[Tensor], Tensor]]] = {
    "Relu at zero": ([make_node("Relu", ["image"], ["y"])], F.relu),
    "Clip at its bounds": ([make_node("Clip", ["image", "low", "high"], ["y"])], lambda x: F.hardtanh(x, -1, 2)),
    "Clip from below": ([make_node("Clip", ["image", "low"], ["y"])], lambda x: F.hardtanh(x, -1, 99)),
    "Clip from above": ([make_node("Clip", ["image", "", "high"], ["y"])], lambda x: F.hardtanh(x, -99, 2)),
    "Clip not at all": ([make_node("Clip", ["image"], ["y"])], lambda x: x * 1),
    "Identity": ([make_node("Identity", ["image"], ["y"])], lambda x: x * 1),
    "Sub and Div by constants": (
        [make_node("Sub", ["image", "shift"], ["a"]), make_node("Div", ["a", "shift"], ["y"])],
        lambda x: (x - constant("shift")) / constant("shift"),
    ),
    "Sub from a constant": ([make_node("Sub", ["shift", "image"], ["y"])], lambda x: constant("shift") - x),
    "Mul by a constant": ([make_node("Mul", ["shift", "image"], ["y"])], lambda x: constant("shift") * x),
    "Mul by itself": ([make_node("Mul", ["image", "image"], ["y"])], lambda x: x * x),
    "Add what is broadcast": (
        [make_node("ReduceMean", ["image", "axes"], ["a"]), make_node("Add", ["a", "image"], ["y"])],
        lambda x: x + x.mean((2, 3), keepdim=True),
    ),
    "Mul by what is broadcast": (
        [make_node("GlobalAveragePool", ["image"], ["a"]), make_node("Mul", ["image", "a"], ["y"])],
        lambda x: x * x.mean((2, 3), keepdim=True),
    ),
    "Concat, used twice": (
        [
            make_node("Relu", ["image"], ["a"]),
            make_node("Concat", ["a", "image", "a"], ["c"], axis=1),
            make_node("Mul", ["c", "c"], ["y"]),
        ],
        lambda x: torch.cat([F.relu(x), x, F.relu(x)], 1) ** 2,
    ),
    "Gather and Unsqueeze, twice the same place": (
        [
            make_node("Gather", ["image", "places"], ["a"], axis=3),
            make_node("ReduceMean", ["a", "all"], ["m"], keepdims=0),
            make_node("Unsqueeze", ["m", "one"], ["y"]),
        ],
        lambda x: x[..., [1, 1, 0, -1]].mean((1, 2, 3))[:, None],
    ),
    "ReduceMean without kept axes": (
        [make_node("ReduceMean", ["image", "axes"], ["y"], keepdims=0)],
        lambda x: x.mean((2, 3)),
    ),
    "BatchNormalization": (
        [make_node("BatchNormalization", ["image", *["variance"] * 4], ["y"], epsilon=0.1)],
        lambda x: F.batch_norm(x, *[constant("variance")] * 4, eps=0.1),
    ),
    "Flatten, Gemm": (
        [make_node("Flatten", ["image"], ["a"]), make_node("Gemm", ["a", "w", "b"], ["y"], transB=1, alpha=0.5)],
        lambda x: 0.5 * x.flatten(1) @ constant("w").T + constant("b"),
    ),
    "Reshape, Gemm": (
        [make_node("Reshape", ["image", "flat"], ["a"]), make_node("Gemm", ["a", "wt"], ["y"])],
        lambda x: x.flatten(1) @ constant("w").T,
    ),
    "Reshape, MatMul": (
        [make_node("Reshape", ["image", "flat"], ["a"]), make_node("MatMul", ["a", "wt"], ["y"])],
        lambda x: x.flatten(1) @ constant("w").T,
    ),
    "Unsqueeze, Squeeze": (
        [
            make_node("ReduceMean", ["image", "all"], ["a"]),
            make_node("Squeeze", ["a", "all"], ["s"]),
            make_node("Unsqueeze", ["s", "all"], ["u"]),
            make_node("Mul", ["u", "u"], ["y"]),
        ],
        lambda x: x.mean((1, 2, 3), keepdim=True) ** 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str) -> None:
    nodes, torchs = OPERATIONS[name]
    used = {name for node in nodes for name in node.input}
    constants = {key: array for key, array in CONSTANTS.items() if key in used}
    assert_adjoint(nodes, constants, whole(2, 3, 2, 2), torchs)


def test_every_rule_is_tested() -> None:
    tested = {node.op_type for nodes, _ in OPERATIONS.values() for node in nodes}
    assert set(RULES) == tested | {"Conv", "MaxPool", "AveragePool"}


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (make_node("Erf", ["image"], ["y"], name="e1"), "gradient of Erf e1: expected one of Add"),
        (make_node("Div", ["image", "image"], ["y"]), "gradient of Div y: expected a constant divisor"),
        (make_node("Conv", ["image", "image"], ["y"], kernel_shape=[2, 2]), "expected constant weights"),
        (make_node("AveragePool", ["image"], ["y"], kernel_shape=[1, 1], auto_pad="SAME_UPPER"), "explicit padding"),
        (make_node("MaxPool", ["image"], ["y"], kernel_shape=[1, 1], storage_order=1), "rows before columns"),
        (make_node("Concat", ["image", "image"], ["y"], axis=0), "an axis after the batch"),
    ],
)
def test_what_has_no_rule_is_named(node: NodeProto, says: str) -> None:
    x = normal(3, 3, 2, 2)
    with pytest.raises(CheckpointError, match=says):
        differentiate(Tape(make([node], {}, x, {"y": None})), of="y", by="image", seed="seed")


def linear(weights: Array, bias: Array) -> tuple[onnx.ModelProto, Card]:
    """A classifier of 3 x 2 x 2 pixels."""
    nodes = [make_node("Flatten", ["image"], ["a"]), make_node("Gemm", ["a", "w", "b"], ["logits"], transB=1)]
    x = np.zeros((1, 3, 2, 2), np.float32)
    model = make(nodes, {"w": weights, "b": bias}, x, {"logits": ["batch", len(weights)]})
    return model, card_of(tuple(f"class {index}" for index in range(len(weights))), 2)


def card_of(classes: tuple[str, ...], side: int, name: str = "made.up") -> Card:
    preprocess = ARCHITECTURES["resnet50"].preprocess.model_copy(update={"resize": side, "crop": side})
    return Card(name=name, task="classification", preprocess=preprocess, output="logits", classes=classes)


def feed_of(images: Array, target: Array, mode: Any, temperature: Any = 1.0) -> dict[str, Array]:
    def column(values: Any, dtype: Any) -> Array:
        return np.broadcast_to(np.asarray(values, dtype), len(images)).reshape(-1, 1)

    return {
        "image": images,
        "target": target.astype(np.float32),
        "mode": column(mode, np.int32),
        "temperature": column(temperature, np.float32),
    }


def torch_loss(logits: Tensor, target: Tensor, mode: int, temperature: float) -> Tensor:
    """Either loss of one image's (classes,), written anew."""
    if mode == Mode.KL:
        p, q = torch.softmax(target / temperature, 0), torch.softmax(logits / temperature, 0)
        return (p * (p / q).log()).sum()
    label = int(target.argmax())
    rivals = [logit for index, logit in enumerate(logits) if index != label]
    return logits[label] - torch.stack(rivals).max()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99),
    mode=st.sampled_from(Mode),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
    offset=st.sampled_from([-50.0, 0.0, 50.0]),
)
def test_losses(seed: int, mode: Mode, temperature: float, offset: float) -> None:
    weights, bias = normal(5, 12, seed=seed), normal(5, seed=seed + 1) + np.float32(offset)
    model, card = linear(weights, bias)
    images, target = normal(3, 3, 2, 2, seed=seed + 2), normal(3, 5, seed=seed + 3) - np.float32(5)
    if mode is Mode.MARGIN:
        target = np.eye(5, dtype=np.float32)[target.argmax(axis=1)]
    found = answer(gradient_graph(model, card), feed_of(images, target, mode, temperature))
    for index in range(3):
        x = torch.from_numpy(images[index]).double().requires_grad_()
        logits = torch.from_numpy(weights).double() @ x.flatten() + torch.from_numpy(bias).double()
        loss = torch_loss(logits, torch.from_numpy(target[index]).double(), mode, temperature)
        (gradient,) = torch.autograd.grad(loss, x)
        np.testing.assert_allclose(found["loss"][index, 0], loss.item(), rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(found["gradient"][index], gradient, rtol=1e-3, atol=2e-5)


def test_margin_takes_the_first_of_equal_rivals_and_no_notice_of_temperature() -> None:
    weights = normal(4, 12)
    model, card = linear(weights, np.zeros(4, np.float32))
    images = np.zeros((2, 3, 2, 2), np.float32)
    found = answer(gradient_graph(model, card), feed_of(images, np.eye(4)[[0, 2]], Mode.MARGIN, 0.0))
    assert found["loss"].tolist() == [[0.0], [0.0]]
    expected = [weights[0] - weights[1], weights[2] - weights[0]]
    np.testing.assert_allclose(found["gradient"].reshape(2, 12), expected, rtol=1e-6)


def test_a_graph_is_the_same_each_time_and_its_source_is_left_alone() -> None:
    model, card = linear(normal(4, 12), normal(4))
    before = model.SerializeToString(deterministic=True)
    graphs = [gradient_graph(model, card).SerializeToString(deterministic=True) for _ in range(2)]
    assert graphs[0] == graphs[1]
    onnx.checker.check_model(graphs[0], full_check=True)
    assert model.SerializeToString(deterministic=True) == before


def test_a_card_that_is_not_the_graphs() -> None:
    model, card = linear(normal(4, 12), normal(4))
    with pytest.raises(CardError, match="Correct it"):
        gradient_graph(model, card.model_copy(update={"output": "score"}))


def test_one_class_has_no_rival() -> None:
    with pytest.raises(CardError, match=r"expected \(batch, classes\)"):
        gradient_graph(*linear(normal(1, 12), normal(1)))


def test_a_name_that_is_taken() -> None:
    model, card = linear(normal(4, 12), normal(4))
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "loss"
    with pytest.raises(CheckpointError, match="expected other names, got loss"):
        gradient_graph(model, card)


def test_a_value_of_unknown_shape() -> None:
    model, card = linear(normal(4, 12), normal(4))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(CheckpointError, match="a known shape after the batch"):
        gradient_graph(model, card)


@dataclass(frozen=True)
class Whole:
    network: Normalised
    card: Card
    model: Path
    images: Array


@pytest.fixture(scope="module", params=["squeezenet1_1", "mobilenet_v2"])
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A seeded classifier of small images with its gradient's graph, and a few images."""
    architecture = replace(ARCHITECTURES[request.param], crop=SIDE)
    network = float_network(architecture, "seeded:0")
    card = card_of(tuple(map(str, range(1000))), SIDE, f"{request.param}.made_up")
    path = tmp_path_factory.mktemp("gradient") / "model.onnx"
    write_onnx(network, torch.zeros(2, 3, SIDE, SIDE), path, card)
    onnx.save(gradient_graph(onnx.load(path), card), path)
    images = np.random.default_rng(0).random((4, 3, SIDE, SIDE), dtype=np.float32)
    return Whole(network, card, path, images)


def test_classifier_logits_and_losses(classifier: Whole) -> None:
    modes, temperatures = [0, 1, 0, 1], [1, 1, 3, 3]
    target = normal(4, 1000)
    found = answer(classifier.model, feed_of(classifier.images, target, modes, temperatures))
    with torch.no_grad():
        logits = classifier.network(torch.from_numpy(classifier.images))
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-3, atol=1e-3)
    for index, (mode, temperature) in enumerate(zip(modes, temperatures, strict=True)):
        loss = torch_loss(logits[index], torch.from_numpy(target[index]), mode, temperature)
        assert found["loss"][index, 0] == pytest.approx(loss.item(), rel=1e-3, abs=1e-3)
    assert found["gradient"].shape == classifier.images.shape


def test_classifier_answers_each_image_as_if_alone(classifier: Whole) -> None:
    feed = feed_of(classifier.images, normal(4, 1000), [0, 1, 0, 1], [1, 1, 3, 3])
    together = answer(classifier.model, feed)
    for index in range(4):
        alone = answer(classifier.model, {name: array[index : index + 1] for name, array in feed.items()})
        for name, array in alone.items():
            distance = np.linalg.norm(array[0] - together[name][index]) / np.linalg.norm(array[0])
            assert distance < 1e-5, name


def test_classifier_gradient_is_autograds(classifier: Whole) -> None:
    images = classifier.images[:1]
    found = check_gradient(classifier.network, classifier.model, classifier.card, images, temperature=2.0)
    assert found.probes == 1
    assert found.logits < 1e-3
    assert found.explained(1e-4), found.words()
    assert found.flipped <= 1e-4 * found.decisions
    for errors in (found.kl, found.margin):
        assert errors.torch64 <= 3 * errors.yardstick + 1e-4, found.words()


def test_classifier_is_served_with_every_input(classifier: Whole) -> None:
    config = render_config(classifier.model, classifier.card)
    assert [(item.name, list(item.dims)) for item in config.input] == [
        ("image", [3, SIDE, SIDE]), ("target", [1000]), ("mode", [1]), ("temperature", [1]),
    ]  # fmt: skip
    assert [item.name for item in config.output] == ["logits", "loss", "gradient"]


def test_decisions_are_told_from_rounding(tmp_path: Path) -> None:
    """A rectifier is off in float32 and on in float64: the gradients differ, and the verdict says why."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small = nn.Parameter(torch.tensor(2.0**-26))
            self.layer = nn.Conv2d(3, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            kinked = F.relu((image + self.small) - image)
            return (self.layer(image) + kinked.mean(1, keepdim=True)).mean((2, 3)) + kinked.mean((1, 2, 3))[:, None]

    torch.manual_seed(0)
    network, card = Tied().eval(), card_of(tuple("abcd"), 8, "tied.made_up")
    write_onnx(network, torch.zeros(2, 3, 8, 8), tmp_path / "model.onnx", card)
    onnx.save(gradient_graph(onnx.load(tmp_path / "model.onnx"), card), tmp_path / "model.onnx")
    found = check_gradient(network, tmp_path / "model.onnx", card, np.full((1, 3, 8, 8), 0.75, np.float32))
    assert found.flipped == found.decisions == 3 * 8 * 8
    assert found.explained(1e-5)
    assert "192 of 192 decisions flipped, over 1 images" in found.words()


def test_a_graph_of_another_network(classifier: Whole) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1000)

        def forward(self, image: Tensor) -> Tensor:
            return self.layer(image.mean((2, 3)))  # type: ignore[no-any-return]

    with pytest.raises(ParityError, match="got more in the graph"):
        check_gradient(Other(), classifier.model, classifier.card, classifier.images[:1])
