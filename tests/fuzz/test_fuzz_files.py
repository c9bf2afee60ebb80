"""Damaged and hostile suites, tables, configurations, models, runs and checkpoints end in a HarnessError or in a value.

``DISCERN_FUZZ=2000`` opens so many of each.
"""

import importlib.util
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("duckdb", reason="the extra `sql` is not installed")

import torch
from onnx import TensorProto

from export.checkpoints import read_tensors
from export.classifiers import ARCHITECTURES, float_network, quantized_network
from export.residual_filters import DnCNN
from export.torchscript import read_script
from export.training.states import checkpoint_state
from harness.arrays import read_npz
from harness.backends.base import EndpointOptions
from harness.backends.ort import OrtBackend
from harness.errors import CheckpointError, EndpointRefused, SuiteError
from harness.fingerprints.bank import Bank
from harness.spec.load import load_suite
from harness.tasks.gray import read_history
from tests.fuzz import checkpoints, files
from tests.fuzz.watched import Watched, watch

COUNT = int(os.environ.get("DISCERN_FUZZ", "3"))

EITHER = {"conclusion", "report", "run in SQL", "run in the site", "records"}
"""Kinds of which a damaged one counts as not there, and is no error."""


@pytest.fixture(scope="module")
def found() -> Mapping[str, Watched]:
    """What became of the files of every kind."""
    return {**watch("tests.fuzz.files", COUNT), **watch("tests.fuzz.checkpoints", COUNT)}


@pytest.mark.parametrize("kind", [kind.name for kind in (*files.KINDS, *checkpoints.KINDS)])
def test_damaged_files_end_in_a_value_or_an_error_of_ours(found: Mapping[str, Watched], kind: str) -> None:
    mine = found[kind]
    assert not mine.findings, "\n".join(mine.findings[:3])
    assert mine.outcomes.total() == COUNT
    assert kind not in EITHER or set(mine.outcomes) == {"read"}


def test_most_damage_is_seen(found: Mapping[str, Watched]) -> None:
    outcomes = [mine.outcomes for kind, mine in found.items() if kind not in EITHER]
    read = sum(counts["read"] for counts in outcomes)
    assert 0 < read < sum(counts.total() for counts in outcomes) / 2


HEAD = "name: x\ntasks: [{kind: detection, data: d, name: t}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 9)),
            "at most 50,000 values",
        ),
        ("[" * 2000, "nested"),
        ("".join(" " * i + "a:\n" for i in range(700)), "nested"),
        (HEAD + "description: '" + "${A:-}" * 1000 + "'", "2,000 characters around variables"),
        (HEAD + "".join(f"k{i}: 1\n" for i in range(2000)), "and more; correct these first"),
        (HEAD + f"seed: {'9' * 5000}\n", "a value of"),
        (HEAD + "seed: 2001-99-99\n", "a value of"),
        (HEAD + "seed: !!bool perhaps\n", "a value of"),
        (HEAD + "seed: !!python/object/apply:os.mkdir [x]\n", "plain YAML"),
        ("#" * (1 << 18) + HEAD, "at most 262,144 bytes"),
    ],
    ids=["laughs", "deep list", "deep mapping", "variables", "keys", "digits", "date", "bool", "python", "large"],
)
def test_a_suite_that_would_take_forever_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=said) as caught:
        load_suite(path, (), {})
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("place", ["../secret.bin", "{folder}/secret.bin", "link.bin"])
def test_a_model_reads_no_file_outside_its_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret.bin").write_bytes(np.float32(0.5).tobytes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = files.graph()
    half = next(item for item in model.graph.initializer if item.name == "half")
    half.ClearField("raw_data")
    half.data_location = TensorProto.EXTERNAL
    half.external_data.add(key="location", value=place.format(folder=tmp_path))
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EndpointRefused, match="expected an ONNX model"):
        OrtBackend(f"onnx:{path}", path, EndpointOptions())


class _Writes:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def _taken_up(path: Path) -> None:
    with checkpoint_state(path):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "tensors": read_tensors,
    "state of a training": _taken_up,
    "residual filter": DnCNN.load,
    "float classifier": lambda path: float_network(ARCHITECTURES["squeezenet1_1"], str(path)),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_checkpoint_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path, reader: str, form: str) -> None:
    path, trap = tmp_path / "weights.pt", tmp_path / "sprung"
    if form == "pickle":
        path.write_bytes(pickle.dumps(_Writes(trap)))
    else:
        torch.save({"state": _Writes(trap)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError):
        READERS[reader](path)
    assert not trap.exists()


SCRIPT = """
import torch
class Trap(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))
    def forward(self, x):
        return x + self.w
    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)
    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.w, self.training = state[0], state[1]
        torch.save(state[0], "{trap}")
"""


@pytest.mark.filterwarnings("ignore")
def test_the_code_of_a_torchscript_archive_does_not_run(tmp_path: Path) -> None:
    path, trap, source = tmp_path / "weights.pt", tmp_path / "sprung", tmp_path / "trap.py"
    source.write_text(SCRIPT.replace("{trap}", str(trap)))
    spec = importlib.util.spec_from_file_location("trap", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.jit.script(module.Trap()).save(str(path))
    torch.jit.load(str(path))
    assert trap.exists(), "torch itself runs it"
    trap.unlink()
    found = read_script(path)
    assert found is not None
    assert torch.equal(found.state[0], torch.zeros(1))
    with pytest.raises(CheckpointError, match="all of the network's"):
        quantized_network(ARCHITECTURES["mobilenet_v2"], str(path))
    assert not trap.exists()


def test_a_torchscript_archive_of_pickled_code_is_refused(tmp_path: Path) -> None:
    path, trap = tmp_path / "weights.pt", tmp_path / "sprung"
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, content in (("data.pkl", pickle.dumps(_Writes(trap), 2)), ("constants.pkl", pickle.dumps((), 2))):
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    with pytest.raises(CheckpointError, match="no plain data"):
        read_script(path)
    assert not trap.exists()


def test_archives_of_arrays_unpack_no_bomb_and_no_object(tmp_path: Path) -> None:
    bomb, objects = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("names.npy", bytes(1 << 20))
    with pytest.raises(ValueError, match="1,048,576 bytes unpacked"):
        read_npz(bomb.getvalue(), most=1 << 19)
    np.savez(objects, names=np.array([_Writes(tmp_path / "sprung")], object))
    for read in (lambda path: Bank.load(path), read_history):
        (tmp_path / "b.npz").write_bytes(objects.getvalue())
        with pytest.raises(Exception, match="allow_pickle=False"):
            read(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_filter_of_a_thousand_million_layers_is_refused(tmp_path: Path) -> None:
    torch.save({"depth": 10**9, "width": 1, "state": {}}, tmp_path / "f.pt")
    with pytest.raises(CheckpointError, match="depth 1000000000"):
        DnCNN.load(tmp_path / "f.pt")
