"""Reads the modules in a TorchScript archive as plain data; none of its code is compiled or run.

``torch.jit.load`` runs the archive's own ``__setstate__``, which can write files.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from harness.errors import CheckpointError, problem

_OBJECT = re.compile(r"__torch__(\.|$)")
"""What archives call the classes that their own code defines, and torch's packed parameters."""

_BUILDERS: Mapping[str, Any] = {
    "collections OrderedDict": OrderedDict,
    "torch._utils _rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils _rebuild_qtensor": torch._utils._rebuild_qtensor,
    "torch per_channel_affine": torch.per_channel_affine,
    "torch per_tensor_affine": torch.per_tensor_affine,
}
"""All else that a state is made of, numbers apart."""

_NUMBERS: Mapping[str, torch.dtype] = {
    "torch QInt8Storage": torch.qint8,
    "torch QUInt8Storage": torch.quint8,
    "torch QInt32Storage": torch.qint32,
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}


class ScriptObject:
    """An object of an archive: its state, and nothing of its class.

    Attributes:
        state: attributes by name, or what the class made of them (a tuple).
    """

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def get(self, name: str) -> Any:
        """Return an attribute; None where there is none."""
        return self.state.get(name) if isinstance(self.state, dict) else None

    def walk(self, name: str = "") -> Iterator[tuple[str, ScriptObject]]:
        """Yield this and all objects below it by their dotted names."""
        open_objects = [(name, self)]
        seen: set[int] = set()
        while open_objects:
            name, one = open_objects.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield name, one
            below = one.state.items() if isinstance(one.state, dict) else ()
            named = ((f"{name}.{key}".removeprefix("."), value) for key, value in below)
            open_objects += [(key, value) for key, value in named if isinstance(value, ScriptObject)]


def read_script(path: Path) -> ScriptObject | None:
    """Return the module in a TorchScript archive; None where the file is none.

    Raises:
        CheckpointError: an archive that is damaged, or that asks for anything but plain data.
    """
    try:
        reader = cast(Any, torch._C.PyTorchFileReader(str(path)))
        if not reader.has_record("constants.pkl") or not reader.has_record("data.pkl"):
            return None
    except (RuntimeError, ValueError):
        return None
    try:
        found = _Unpickler(reader).load()
    except Exception as error:  # whatever a pickle of data can lead torch's builders to
        said = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(problem(str(path), "a TorchScript archive", said, "Do not trust this file")) from error
    return found if isinstance(found, ScriptObject) else None


class _Unpickler(pickle.Unpickler):
    """Makes tensors and :class:`ScriptObject` alone."""

    def __init__(self, reader: Any) -> None:
        super().__init__(io.BytesIO(reader.get_record("data.pkl")))
        self.reader = reader

    def find_class(self, module: str, name: str) -> Any:
        if _OBJECT.match(module):
            return ScriptObject
        said = f"{module} {name}"
        if said in _NUMBERS:
            return _NUMBERS[said]
        if said not in _BUILDERS:
            raise pickle.UnpicklingError(f"{module}.{name}, which is no plain data")
        return _BUILDERS[said]

    def persistent_load(self, said: Any) -> Any:
        _, dtype, key, _, count = said
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"numbers of type {dtype}")
        read = cast(Callable[..., Tensor], self.reader.get_storage_from_record)
        content = read(f"data/{key}", int(count) * dtype.itemsize, torch.uint8).untyped_storage()
        return torch.storage.TypedStorage(wrap_storage=content, dtype=dtype, _internal=True)
