"""What can be exported, by name, and how an export goes: build, write, prove, enter. Trains nothing."""

from __future__ import annotations

import csv
import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import onnx
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from export.aligned import REACH
from export.built import Built, Derived, Export
from export.checkpoints import read_dif_bank
from export.classifier_catalog import CLASSIFIERS
from export.embedders import EMBEDDERS
from export.fingerprints import dif_built
from export.gradcam import LAST, find_layer, gradcam_graph
from export.gradcam_check import check_gradcam
from export.gradient import gradient_graph
from export.gradient_check import check_gradient
from export.onnx import attach_card, file_sha256, write_onnx
from export.parity import ask, check_parity, probe_inputs, words
from export.residual_filters import load_filter
from export.tape import Tape
from export.triton import Device, Serving, write_entry
from harness.backends import open_backend
from harness.backends.base import Backend, EndpointOptions
from harness.card import Card, Parity
from harness.errors import CardError, CheckpointError, ParityError, problem
from harness.fingerprints.bank import Bank
from harness.names import did_you_mean
from harness.repository import find_entries
from harness.serving import TritonServer, find_tritonserver

WEIGHTS = Path(__file__).parent / "weights"

GRADIENT_PROBES = 6
"""Images that a gradient is compared on; autograd in float64 takes seconds for each."""

GRADIENT_TOLERANCE = 1e-3
"""Of a gradient, relative L2, where float64 takes the graph's decisions."""

GRADCAM_PROBES = 4
"""Images that Grad-CAM's channel weights are compared on."""

SAME_SCORES, SAME_WEIGHTS = 1e-4, 0.05
"""Of a Grad-CAM graph: its scores from the entry's, and its channel weights from finite differences, relative L2, which
rectifiers that flip put a percent off below the last layers."""


def dif_miniature() -> Built:
    """DIF fingerprints of the miniature corpus' generators over a DnCNN, from the tracked weights."""
    return _miniature("dif.miniature", "dif_miniature.npz", str(WEIGHTS / "dncnn_miniature.pt"), "a DnCNN")


def dif_miniature_bilateral() -> Built:
    """The same over a bilateral residual: the classical baseline, from the tracked weights."""
    name = "dif.miniature_bilateral"
    return _miniature(name, "dif_miniature_bilateral.npz", "bilateral", "a bilateral residual")


def dif_miniature_bilateral_aligned() -> Built:
    """The same, searching shifts of the image, with centres of its own, from the tracked weights."""
    name, words = "dif.miniature_bilateral_aligned", "a bilateral residual, the best of all small shifts"
    return _miniature(name, "dif_miniature_bilateral_aligned.npz", "bilateral", words)


def _miniature(name: str, bank_file: str, filter: str, words: str) -> Built:
    bank, residual = Bank.load(WEIGHTS / bank_file), load_filter(filter)
    return dif_built(
        name,
        (WEIGHTS / bank_file).read_bytes(),
        residual,
        summary=f"Deep image fingerprints of the miniature corpus' {len(bank.names)} generators over {words}",
        licence="Apache-2.0",
        source="export/training, on the miniature corpus' train split",
        training={"filter_sha256": "none" if filter == "bilateral" else file_sha256(Path(filter))},
        claims={},
    )


def dif_published(checkpoints: str, filter: str = "bilateral", claims: str = "", tag: str = "published") -> Built:
    """DIF fingerprints published as checkpoints, over a residual filter of one's own.

    Args:
        checkpoints: folder of GENERATOR/chk_0.pt.
        filter: ``bilateral``, or a file of DnCNN weights.
        claims: CSV of generator and accuracy in percent, the published figures; none where empty.
        tag: last part of the entry's name.
    """
    return _published(read_dif_bank(Path(checkpoints)), Path(checkpoints), filter, claims, tag)


def dif_published_aligned(checkpoints: str, filter: str = "bilateral", tag: str = "published_aligned") -> Built:
    """The same, searching shifts of the image.

    Its centres are those of the published evaluation, which searched nothing: they say which way a fingerprint points,
    and the largest of many correlations lies above them for reals too. Its threshold has no meaning until it is
    calibrated on images; its order of images has.
    """
    bank = replace(read_dif_bank(Path(checkpoints)), reach=REACH)
    words = f", the best of all shifts up to {REACH} pixels; the threshold is not calibrated"
    return _published(bank, Path(checkpoints), filter, "", tag, words)


def _published(bank: Bank, folder: Path, filter: str, claims: str, tag: str, words: str = "") -> Built:
    residual, classical = load_filter(filter), filter == "bilateral"
    published = read_claims(Path(claims)) if claims else {}
    over = "a bilateral residual" if classical else "a DnCNN residual that is not the published one"
    return dif_built(
        f"dif.{tag}",
        bank.to_bytes(),
        residual,
        summary=f"Published deep image fingerprints of {len(bank.names)} generators over {over}{words}",
        licence="none stated",
        source="Sinitsa and Fried, Deep Image Fingerprint, WACV 2024, github.com/Sergo2020/DIF_pytorch_official",
        training={
            "filter": "bilateral" if classical else f"dncnn sha256:{file_sha256(Path(filter))}",
            **{f"{name}_sha256": file_sha256(folder / name / "chk_0.pt") for name in bank.names},
        },
        claims={f"balanced_accuracy@{name}": published[name] for name in bank.names if name in published},
    )


def export_gradcam(repository: Path, serving: Serving, say: Callable[[str], None], of: str, layer: str = LAST) -> None:
    """Write ``OF.gradcam``, which also answers with where an entry of the repository looks, once it is proven.

    Args:
        repository: holds the entry, and receives the new one.
        serving: how Triton runs it.
        say: receives a line a stage.
        of: name of a detector or classifier.
        layer: name of a value of its graph, (batch, C, h, w), or LAST.

    Raises:
        CardError: no such entry or layer, or one that Grad-CAM can't explain.
        ParityError: other scores than the entry's, or channel weights that finite differences don't confirm.
    """
    found = find_entries(repository, of)
    names = [item.name for item in found]
    if names != [of]:
        raise CardError(problem("--of", "the name of one entry", repr(of), f"Choose from: {', '.join(names)}"))
    source = found[0].card
    if source.task not in ("detection", "classification") or source.represent:
        got = f"{source.task}{' of artifacts' if source.represent else ''}"
        raise CardError(problem(f"gradcam of {of}", "a detector or classifier of images", got, "Name another entry"))
    known = onnx.load(found[0].model_file)
    layer = find_layer(Tape(known), source, layer)
    summary, name = f"Where {of} looks, in its layer {layer}", f"{of}.gradcam"
    card = source.model_copy(update={"name": name, "task": "gradcam", "summary": summary, "parity": None})
    graph = gradcam_graph(known, card, layer)
    served_too = find_tritonserver() is not None
    say(f"{name}: comparing {layer} with finite differences{' and a Triton here' if served_too else ''}")
    with tempfile.TemporaryDirectory(prefix="discern-export-") as folder:
        model = Path(folder) / "gradcam.onnx"
        onnx.save(graph, model)
        with _served(Path(folder) / "repository", model, card, {}) if served_too else nullcontext() as backend:
            inputs = probe_inputs(source, GRADCAM_PROBES)
            proof = check_gradcam(known, graph, card, layer, inputs, backend.infer if backend else None)
        if not proof.within(SAME_SCORES, SAME_WEIGHTS):
            expected = f"scores within {SAME_SCORES:g} and weights within {SAME_WEIGHTS:g}"
            raise ParityError(problem(f"gradcam of {of}", expected, proof.words(), "Compare the adjoints one by one"))
        training = {
            **card.training,
            "gradcam": proof.words(),
            "layer": layer,
            "entry_sha256": file_sha256(found[0].model_file),
        }
        entry = write_entry(repository, model, card.model_copy(update={"training": training}), serving)
    say(f"{entry.name}: holds ({proof.words()}); written to {entry.folder}")


EXPORTS: Mapping[str, Export | Derived] = {
    "dif.miniature": Export(
        "Fingerprints of the miniature corpus' generators, from the tracked weights", dif_miniature
    ),
    "dif.miniature_bilateral": Export(
        "Fingerprints of the miniature corpus over a bilateral residual, as a baseline", dif_miniature_bilateral
    ),
    "dif.miniature_bilateral_aligned": Export(
        "The same, searching small shifts of the image", dif_miniature_bilateral_aligned
    ),
    "dif.published": Export("Fingerprints published as checkpoints, over a filter of one's own", dif_published),
    "dif.published_aligned": Export("The same, searching small shifts of the image", dif_published_aligned),
    **CLASSIFIERS,
    **EMBEDDERS,
    "gradcam": Derived("Where an entry of the repository looks: --of NAME, --layer VALUE or last", export_gradcam),
}
"""What can be exported, by name."""


def read_claims(path: Path) -> dict[str, float]:
    """Read published accuracies: a CSV of ``generator,accuracy``, in percent, the mean of both classes.

    Returns:
        Generator -> 0..1.

    Raises:
        CheckpointError: it can't be read so.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            claims = {row["generator"]: round(float(row["accuracy"]) / 100, 6) for row in csv.DictReader(file)}
        if not claims or not all(0 <= value <= 1 for value in claims.values()):
            raise ValueError("no row, or an accuracy outside 0..100")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            problem(f"claims {path}", "columns generator and accuracy in percent", str(error), "Correct the CSV")
        ) from error
    return claims


def export_model(
    name: str, *, repository: Path, options: Mapping[str, str], say: Callable[[str], None] = lambda line: None
) -> Parity | None:
    """Export one model into a repository; nothing is written there unless parity holds.

    Returns:
        The verdict; None of an export that starts from an entry, whose card says how it was proven.

    Args:
        name: one of EXPORTS.
        repository: where the entry goes.
        options: the builder's arguments; ``device``: where Triton runs it (``auto``, ``cpu`` or ``gpu``); and
            ``with_gradient``: ``yes`` for a second entry, ``NAME.gradient``.
        say: receives a line a stage.

    Raises:
        HarnessError: a name, an option or weights that can't be used, or a parity that fails.
    """
    arguments = dict(options)
    serving = Serving(_device(arguments.pop("device", "auto")))
    listed = _listed(name)
    if isinstance(listed, Derived):
        _call(name, listed.write, repository, serving, say, **arguments)
        return None
    with_gradient = arguments.pop("with_gradient", "no") == "yes"
    built = build(name, arguments)
    if with_gradient and (built.rounds or built.card.task != "classification"):
        got = f"{built.card.task}, {'quantized' if built.rounds else 'float'}"
        raise CardError(problem(f"gradient of {name}", "a float classifier", got, "Take the tag tv_float"))
    return enter(built, repository, serving, say, with_gradient=with_gradient)


def enter(
    built: Built,
    repository: Path,
    serving: Serving,
    say: Callable[[str], None],
    *,
    with_gradient: bool = False,
    check_served: bool = True,
) -> Parity:
    """Write a module's graph, prove that it answers as the module does, and enter it into a repository.

    Args:
        built: the module and its card.
        repository: where the entry goes; nothing is written there unless parity holds.
        serving: how Triton runs it.
        say: receives a line a stage.
        with_gradient: whether ``NAME.gradient`` is written too.
        check_served: whether a Triton on this machine, where there is one, takes part in the proof.

    Raises:
        ParityError: parity fails.
    """
    inputs = built.inputs if built.inputs is not None else probe_inputs(built.card)
    with tempfile.TemporaryDirectory(prefix="discern-export-") as folder:
        model = Path(folder) / "model.onnx"
        say(f"{built.card.name}: writing ONNX")
        if built.write is None:
            write_onnx(built.module, torch.from_numpy(inputs[:2]), model, built.card)
        else:
            built.write(model)
            attach_card(model, built.card)
        served_too = check_served and find_tritonserver() is not None
        say(f"{built.card.name}: comparing torch and ONNX Runtime{' and a Triton here' if served_too else ''}")
        beside = Path(folder) / "repository"
        with _served(beside, model, built.card, built.files) if served_too else nullcontext() as backend:
            parity = check_parity(
                built.module,
                model,
                built.card,
                inputs,
                tolerance=built.tolerance,
                served=partial(ask, backend, built.card) if backend else None,
                rounds=built.rounds,
                layers=built.layers(inputs) if built.layers else None,
            )
        entry = write_entry(repository, model, built.card.model_copy(update={"parity": parity}), serving, built.files)
        say(f"{entry.name}: parity holds ({words(parity)}); written to {entry.folder}")
        if with_gradient:
            _export_gradient(built, model, inputs[:GRADIENT_PROBES], repository, serving, say)
    return parity


def _export_gradient(
    built: Built, model: Path, inputs: NDArray[Any], repository: Path, serving: Serving, say: Callable[[str], None]
) -> None:
    """Write the entry that answers with a loss and its gradient too, once it agrees with autograd.

    Raises:
        ParityError: the graph differs from autograd by more than the decisions of rectifiers can explain.
    """
    name = f"{built.card.name}.gradient"
    say(f"{name}: writing the backward graph and comparing it with autograd")
    card = built.card.model_copy(
        update={"name": name, "task": "gradient", "summary": f"Loss and gradient by the image of {built.card.name}"}
    )
    target = model.with_name("gradient.onnx")
    onnx.save(gradient_graph(onnx.load(model), card), target)
    found = check_gradient(built.module, target, card, inputs)
    if not found.explained(GRADIENT_TOLERANCE):
        what, do = f"gradient of {built.card.name}", "Compare the adjoints one by one"
        raise ParityError(problem(what, f"autograd's within {GRADIENT_TOLERANCE:g}", found.words(), do))
    training = {**card.training, "gradient": found.words()}
    entry = write_entry(repository, target, card.model_copy(update={"training": training}), serving)
    say(f"{entry.name}: agrees with autograd ({found.words()}); written to {entry.folder}")


def build(name: str, options: Mapping[str, str]) -> Built:
    """Build one module with its card, and write nothing.

    Raises:
        HarnessError: a name, an option or weights that can't be used.
    """
    listed = _listed(name)
    if isinstance(listed, Derived):
        expected, got = "one that is built of weights", "one that starts from an entry"
        raise CardError(problem(f"export {name}", expected, got, "Export it into the entry's repository"))
    return cast(Built, _call(name, listed.build, **options))


def _listed(name: str) -> Export | Derived:
    if name not in EXPORTS:
        raise CardError(problem("export", "a known name", repr(name), did_you_mean(name, sorted(EXPORTS))))
    return EXPORTS[name]


def _call(name: str, function: Callable[..., Any], *given: Any, **options: str) -> Any:
    """Call a line of the catalogue with a user's options; raises CardError where they are not its own."""
    signature = inspect.signature(function)
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        takes = ", ".join([*signature.parameters][len(given) :]) or "no options"
        raise CardError(problem(f"export {name}", takes, str(error), "Correct the options")) from error
    try:
        return function(*given, **options)
    except ValidationError as error:
        raise CardError(problem(f"export {name}", "a valid card", str(error), "Correct the options")) from error


def _device(said: str) -> Device:
    if said not in get_args(Device):
        raise CardError(problem("device", f"one of {', '.join(get_args(Device))}", repr(said), "Correct --device"))
    return cast(Device, said)


@contextmanager
def _served(repository: Path, model: Path, card: Card, files: Mapping[str, bytes]) -> Iterator[Backend]:
    """Serve a model from a repository of its own."""
    write_entry(repository, model, card, files=files)
    with TritonServer(repository, [card.name]) as server:
        backend = open_backend(server.grpc_url(card.name), EndpointOptions())
        try:
            yield backend
        finally:
            backend.close()
