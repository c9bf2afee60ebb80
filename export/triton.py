"""Writes Triton model repository entries and the lock over them; starts no server."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelInstanceGroup

from export.onnx import attach_card, attached_card, file_sha256
from harness.card import CARD_KEY, WEIGHTS_KEY, Card
from harness.errors import CardError, StoreError, problem
from harness.repository import Entry, find_entries
from harness.store.files import write_atomic

LOCK = "MODELS.lock"

Device = Literal["auto", "cpu", "gpu"]

KINDS = {
    "auto": ModelInstanceGroup.KIND_AUTO,
    "cpu": ModelInstanceGroup.KIND_CPU,
    "gpu": ModelInstanceGroup.KIND_GPU,
}

TYPES: Mapping[int, DataType] = {
    onnx.TensorProto.FLOAT: DataType.TYPE_FP32,
    onnx.TensorProto.FLOAT16: DataType.TYPE_FP16,
    onnx.TensorProto.UINT8: DataType.TYPE_UINT8,
    onnx.TensorProto.INT8: DataType.TYPE_INT8,
    onnx.TensorProto.INT32: DataType.TYPE_INT32,
    onnx.TensorProto.INT64: DataType.TYPE_INT64,
}


@dataclass(frozen=True)
class Serving:
    """How Triton runs a model.

    Attributes:
        device: ``auto`` becomes ``KIND_GPU`` on a server that sees a GPU and ``KIND_CPU`` on one that does not, so that
            one entry loads on both; ``gpu`` refuses to load without one.
        max_batch: largest batch that the server makes.
        preferred: batch sizes that are run at once, without waiting for more requests.
        queue_us: longest that a request waits to be batched with others, in microseconds.
        threads: intra-op threads of each instance; the server's choice where None.
    """

    device: Device = "auto"
    max_batch: int = 32
    preferred: tuple[int, ...] = (8, 16, 32)
    queue_us: int = 500
    threads: int | None = None


def write_entry(
    repository: Path,
    model: Path,
    card: Card,
    serving: Serving = Serving(),
    files: Mapping[str, bytes] | None = None,
) -> Entry:
    """Write one entry, replacing an older one of that name, and renew the lock.

    Args:
        repository: the model repository.
        model: an ONNX file, copied; the copy gets the card into its metadata.
        card: what the model is; also a parameter of the entry, so that an endpoint describes itself.
        serving: how the server runs it.
        files: what stands beside the configuration, by file name; servers leave it alone.
    """
    head = (
        f"# {card.summary}. Written by `harness export`.\n"
        "# An instance group without a kind is KIND_AUTO: KIND_GPU where the server sees a GPU, else KIND_CPU.\n"
    )
    with _staged(repository / card.name) as folder:
        target = folder / "1" / "model.onnx"
        target.parent.mkdir()
        shutil.copyfile(model, target)
        attach_card(target, card)
        config = render_config(target, card, serving)
        for name, content in (files or {}).items():
            write_atomic(folder / name, content)
        write_atomic(folder / "config.pbtxt", (head + text_format.MessageToString(config)).encode())
    write_lock(repository)
    (entry,) = find_entries(repository, card.name)
    return entry


@contextmanager
def _staged(entry: Path) -> Iterator[Path]:
    """Yield a folder beside an entry that takes its place when all went well, and is gone when not.

    Raises:
        StoreError: the repository can't be written.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=f".{entry.name}.") as folder:
            fresh, old = Path(folder) / "new", Path(folder) / "old"
            fresh.mkdir()
            yield fresh
            if entry.exists():
                entry.rename(old)
            fresh.rename(entry)
    except OSError as error:
        do = "Free space there, or name another repository"
        raise StoreError(
            problem(str(entry), "a place that can be written", error.strerror or str(error), do)
        ) from error


def render_config(model: Path, card: Card, serving: Serving = Serving()) -> ModelConfig:
    """Return the configuration of an ONNX file for Triton's ``onnxruntime`` backend.

    Raises:
        CardError: the graph's first dimension is not free, or another one is, or its types are not served.
    """
    graph = onnx.load(model, load_external_data=False).graph
    config = ModelConfig(name=card.name, backend="onnxruntime", max_batch_size=serving.max_batch)
    for value in graph.input:
        data_type, dims = _described(value)
        config.input.add(name=value.name, data_type=data_type, dims=dims, format=ModelInput.FORMAT_NONE)
    for value in graph.output:
        data_type, dims = _described(value)
        config.output.add(name=value.name, data_type=data_type, dims=dims)
    config.instance_group.add(kind=KINDS[serving.device], count=1)
    config.dynamic_batching.preferred_batch_size.extend(serving.preferred)
    config.dynamic_batching.max_queue_delay_microseconds = serving.queue_us
    for size in (1, serving.preferred[0]):
        warm = config.model_warmup.add(name=f"random images, batch {size}", batch_size=size)
        for item in config.input:
            asked = warm.inputs[item.name]
            asked.data_type, asked.random_data = item.data_type, True
            asked.dims.extend(item.dims)
    config.parameters[CARD_KEY].string_value = card.model_dump_json()
    config.parameters[WEIGHTS_KEY].string_value = file_sha256(model)
    if serving.threads is not None:
        config.parameters["intra_op_thread_count"].string_value = str(serving.threads)
    return config


def _described(value: onnx.ValueInfoProto) -> tuple[DataType, list[int]]:
    """Return a tensor's Triton type and its dimensions after the batch."""
    tensor = value.type.tensor_type
    batch, *rest = [dim.dim_value for dim in tensor.shape.dim]
    if batch or not all(rest) or tensor.elem_type not in TYPES:
        got = f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} {[batch, *rest]} (0 is free)"
        raise CardError(
            problem(f"tensor {value.name}", "a free batch and fixed dimensions", got, "Export it otherwise")
        )
    return TYPES[tensor.elem_type], rest


def write_lock(repository: Path) -> None:
    """Write MODELS.lock: for every entry the SHA-256 of its model's file and the digest of its card."""
    tables = [
        f'["{entry.name}"]\nsha256 = "{file_sha256(entry.model_file)}"\ncard = "{entry.card.digest()}"\n'
        for entry in find_entries(repository, "*")
    ]
    write_atomic(repository / LOCK, "\n".join(tables).encode())


def verify_lock(repository: Path) -> list[str]:
    """Return what does not agree with MODELS.lock, or within an entry; empty where everything does.

    Raises:
        CardError: the lock or an entry can't be read.
    """
    try:
        locked = tomllib.loads((repository / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(problem(str(repository / LOCK), "a lock", str(error), "Export a model to write it")) from error
    found = {entry.name: entry for entry in find_entries(repository, "*")}
    problems = [f"{name}: locked, but not in the repository" for name in locked.keys() - found.keys()]
    for name, entry in found.items():
        row = locked.get(name)
        if row is None:
            problems.append(f"{name}: not locked")
            continue
        digest = file_sha256(entry.model_file)
        if digest != row.get("sha256"):
            problems.append(f"{name}: model.onnx is not the locked one")
        if digest != entry.weights_sha256:
            problems.append(f"{name}: config.pbtxt states another digest than model.onnx has")
        if entry.card.digest() != row.get("card"):
            problems.append(f"{name}: the card is not the locked one")
        if attached_card(entry.model_file) != entry.card:
            problems.append(f"{name}: model.onnx and config.pbtxt carry different cards")
    return sorted(problems)
