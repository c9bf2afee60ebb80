"""What an export is before it is written: a module with its card, and how its graph comes about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from export.parity import Layers
from harness.card import Card


@dataclass(frozen=True)
class Built:
    """A module and its card, before export.

    Attributes:
        module: takes the card's input, returns its output.
        card: without a parity verdict.
        tolerance: largest difference that parity allows in a score.
        write: writes the graph to a file; None where it comes of tracing the module.
        rounds: whether the graph is quantized, so that its scores lie apart from the module's.
        layers: compares the graph layer by layer with the module on given inputs; None where it can't be.
        files: what stands beside the model in its entry, by file name.
        inputs: what parity is found on, (N, ...); None: probe images through the card's preprocessing.
    """

    module: nn.Module
    card: Card
    tolerance: float
    write: Callable[[Path], None] | None = None
    rounds: bool = False
    layers: Callable[[NDArray[Any]], Layers] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    inputs: NDArray[Any] | None = None


@dataclass(frozen=True)
class Derived:
    """One line of the catalogue that starts from an entry of the repository, not from weights.

    Attributes:
        summary: one sentence.
        write: takes the repository, how Triton runs what is written, a receiver of lines, and the export's options.
    """

    summary: str
    write: Callable[..., None]


@dataclass(frozen=True)
class Export:
    """One line of the catalogue.

    Attributes:
        summary: one sentence.
        build: its arguments are the options of the export.
    """

    summary: str
    build: Callable[..., Built]
