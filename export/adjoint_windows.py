"""The rules of operations that slide a window over an image: convolution and pooling. Takes 2-D windows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from export.tape import Tape, attributes_of, refuse


@dataclass(frozen=True)
class Window:
    """How a window slides, each (vertical, horizontal).

    Attributes:
        kernel, stride, dilation: in pixels.
        before, after: padding above and left, below and right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @classmethod
    def of(cls, node: NodeProto) -> Window:
        """Read a node's window.

        Raises:
            CheckpointError: not 2-D, or padding that depends on the input.
        """
        said = attributes_of(node)
        kernel = tuple(said.get("kernel_shape", ()))
        if len(kernel) != 2 or said.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise refuse(node, "a 2-D window with explicit padding", f"{kernel} {said.get('auto_pad', '')}")
        pads = tuple(said.get("pads", (0, 0, 0, 0)))
        stride, dilation = tuple(said.get("strides", (1, 1))), tuple(said.get("dilations", (1, 1)))
        return cls((kernel[0], kernel[1]), stride, dilation, pads[:2], pads[2:])

    @property
    def extent(self) -> tuple[int, int]:
        """Pixels from a window's first to past its last."""
        spans = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(self.kernel, self.dilation, strict=True)]
        return spans[0], spans[1]


def convolution(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Convolution with constant weights: the transposed one."""
    weights = tape.constant(node.input[1])
    if weights is None or not all(map(tape.is_constant, node.input[1:])):
        raise refuse(node, "constant weights and bias", "computed ones")
    return {0: _transposed(tape, node, gradient, node.input[1], weights, int(attributes_of(node).get("group", 1)))}


def average_pool(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Average pooling: every pixel gets its share of each window over it; the windows may overlap."""
    window, said = Window.of(node), attributes_of(node)
    channels = tape.shape(node.input[0])[1]
    assert channels is not None
    padded = bool(said.get("count_include_pad", 0))
    rows, columns = (_counts(tape, node, window, axis, padded) for axis in (0, 1))
    counts = np.outer(rows, columns).astype(np.float32)
    uniform = (counts == counts[0, 0]).all()
    ones = np.full((channels, 1, *window.kernel), 1 / counts[0, 0] if uniform else 1, np.float32)
    if not uniform:
        gradient = tape.one("Div", gradient, tape.store(counts[None, None]))
    return {0: _transposed(tape, node, gradient, "", ones, channels)}


def max_pool(tape: Tape, node: NodeProto, gradient: str) -> Mapping[int, str]:
    """Max pooling: the first largest pixel of each window gets its gradient; where windows overlap, the sum."""
    if attributes_of(node).get("storage_order", 0):
        raise refuse(node, "rows before columns", "storage_order 1")
    if len(node.output) == 1:
        node.output.append(f"{node.output[0]}.indices")
    image = node.input[0]
    zeros = tape.one("ConstantOfShape", tape.one("Shape", tape.one("Reshape", image, tape.ints([-1]))))
    flat = (tape.one("Reshape", name, tape.ints([-1])) for name in (node.output[1], gradient))
    return {0: tape.like(tape.one("ScatterElements", zeros, *flat, axis=0, reduction="add"), image)}


def _transposed(tape: Tape, node: NodeProto, gradient: str, name: str, weights: NDArray[np.float32], group: int) -> str:
    """Append the adjoint of a convolution.

    Args:
        tape: grows.
        node: gives the window, and the image's height and width.
        gradient: (N, M, rows, columns).
        name: of the weights in the graph; empty where they are not in it.
        weights: (M, C / group, height, width).
        group: how many parts the channels fall into.

    Returns:
        The name of the gradient (N, C, H, W).
    """
    window = Window.of(node)
    spans = zip(
        _pixels(tape, node.input[0]),
        _pixels(tape, node.output[0]),
        window.stride,
        window.before,
        window.extent,
        strict=True,
    )
    missing = [size - (answers - 1) * step + before - extent for size, answers, step, before, extent in spans]
    begin = [extent - 1 - before for extent, before in zip(window.extent, window.before, strict=True)]
    end = [extent - 1 + gap for extent, gap in zip(window.extent, missing, strict=True)]
    slides = {"kernel_shape": window.kernel, "dilations": window.dilation, "group": group}
    if window.stride == (1, 1) and min(begin + end) >= 0:
        parts = weights.reshape(group, -1, *weights.shape[1:]).swapaxes(1, 2)[..., ::-1, ::-1]
        flipped = tape.store(parts.reshape(-1, *parts.shape[2:]))
        return tape.one("Conv", gradient, flipped, pads=[*begin, *end], **slides)
    return tape.one(
        "ConvTranspose",
        gradient,
        name or tape.store(weights),
        strides=window.stride,
        pads=[*window.before, *(max(-gap, 0) for gap in missing)],
        output_padding=[max(gap, 0) for gap in missing],
        **slides,
    )


def _pixels(tape: Tape, name: str) -> tuple[int, int]:
    """Return an image's height and width."""
    _, _, height, width = tape.shape(name)
    assert height is not None and width is not None
    return height, width


def _counts(tape: Tape, node: NodeProto, window: Window, axis: int, padded: bool) -> NDArray[np.int64]:
    """Return how many pixels each window averages along one axis."""
    size, answers = _pixels(tape, node.input[0])[axis], _pixels(tape, node.output[0])[axis]
    start = np.arange(answers)[:, None] * window.stride[axis] - window.before[axis]
    at = start + np.arange(window.kernel[axis]) * window.dilation[axis]
    low, high = (-window.before[axis], size + window.after[axis]) if padded else (0, size)
    return np.asarray(((at >= low) & (at < high)).sum(axis=1))
