import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from export.plain_pickle import MOST_BYTES, read_plain_pickle
from harness.errors import CheckpointError

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=20,
)


def read(folder: Path, data: bytes) -> dict[str, Any]:
    path = folder / "train_hypers.pt"
    path.write_bytes(data)
    return read_plain_pickle(path)


@given(value=st.dictionaries(st.text(), plain), protocol=st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_reads_what_pickle_reads(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], protocol: int
) -> None:
    data = pickle.dumps(value, protocol)
    assert read(tmp_path_factory.getbasetemp(), data) == pickle.loads(data) == value


def test_a_device_becomes_its_name(tmp_path: Path) -> None:
    said = read(tmp_path, pickle.dumps({"a": torch.device("cuda", 1), "b": torch.device("cpu")}, 4))
    assert said == {"a": "cuda:1", "b": "cpu"}


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_is_named_and_never_run(tmp_path: Path, protocol: int) -> None:
    trap = tmp_path / "sprung"
    data = pickle.dumps({"Epochs": _Evil(trap)}, protocol)
    with pytest.raises(CheckpointError, match=r"posix\.mkdir" if protocol else "opcode"):
        read(tmp_path, data)
    assert not trap.exists()
    pickle.loads(data)
    assert trap.exists(), "the trap itself must work, or the test proves nothing"


class _State:
    pass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {1, 2}}, "opcode"),
        ({"a": b"bytes"}, "opcode"),
        ({"a": Path("x")}, r"pathlib\.Path|pathlib\.PosixPath"),
        ({"a": _State()}, "_State"),
        ({"a": torch.float32}, r"torch\.float32|torch\.serialization"),
        ({"a": eval}, r"builtins\.eval"),
        ([1, 2], "a dict"),
        ({1: "a"}, "text as keys"),
    ],
)
def test_other_objects_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read(tmp_path, pickle.dumps(value, 4))


def test_a_device_that_is_not_called_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="object where a value belongs"):
        read(tmp_path, pickle.dumps({"a": torch.device}, 4))


def test_neither_cycles_nor_bombs(tmp_path: Path) -> None:
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    bomb: list[Any] = ["x"]
    for _ in range(50):
        bomb = [bomb, bomb]
    for value in (cycle, {"a": bomb}):
        with pytest.raises(CheckpointError, match="where str belongs"):
            read(tmp_path, pickle.dumps(value, 4))


def test_large_files_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="more than"):
        read(tmp_path, pickle.dumps({"a": "x" * MOST_BYTES}, 4))


GOOD = pickle.dumps(
    {"Epochs": 100, "Device": torch.device("cuda"), "Crop": (256, 256), "Concat": [1, [2]], "s": "s"}, 4
)


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_truncation_is_an_error(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError):
        read(tmp_path, GOOD[:length])


@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), more=st.binary(max_size=8))
@example(place=2, byte=0x28, more=b"")
def test_damage_is_an_error_or_plain_data(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, more: bytes
) -> None:
    data = GOOD[:place] + bytes([byte]) + more + GOOD[place + 1 :]
    try:
        said = read(tmp_path_factory.getbasetemp(), data)
    except CheckpointError:
        return
    kinds = (int, float, str, bool, type(None))
    stack: list[Any] = [said]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            stack += value
        else:
            assert isinstance(value, kinds)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_plain_pickle(tmp_path / "none.pt")
