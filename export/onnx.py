"""From a torch module to an ONNX file that carries its card; knows nothing of what the module computes."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from harness.card import CARD_KEY, Card
from harness.errors import CardError, problem
from harness.store.files import write_atomic

OPSET = 18


def write_onnx(module: nn.Module, example: torch.Tensor, path: Path, card: Card) -> None:
    """Export a module of one input and one output: batch free, constants folded, checked.

    The same module gives the same bytes: nothing of the exporting machine's files is kept in the graph.

    Args:
        module: the source; put into evaluation mode.
        example: an input of at least two images; its first dimension becomes free.
        path: where the file goes.
        card: names the input and the output, and becomes the file's metadata.
    """
    with quiet("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[card.input],
            output_names=[card.output],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    _write(model, path, card)


def attach_card(path: Path, card: Card) -> None:
    """Put a card into a file's metadata, in place of any other."""
    _write(onnx.load(path), path, card)


def attached_card(path: Path) -> Card | None:
    """Return the card in a file's metadata; None where there is none."""
    said = {item.key: item.value for item in onnx.load(path, load_external_data=False).metadata_props}
    return Card.model_validate_json(said[CARD_KEY]) if CARD_KEY in said else None


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(model: onnx.ModelProto, path: Path, card: Card) -> None:
    names = ([item.name for item in model.graph.input], [item.name for item in model.graph.output])
    if card.input not in names[0] or card.output not in names[1]:
        raise CardError(
            problem(
                f"card {card.name}", f"the graph's tensors {names}", f"{card.input}, {card.output}", "Correct the card"
            )
        )
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about its own run: source lines, file names, the names of torch's nodes."""
    graph = model.graph
    noted: list[Any] = [graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output]
    for item in noted:
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def quiet(name: str | None = None) -> Iterator[None]:
    """Keep what a logger (the root where None) says below an error, and warnings, away from the user."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
