from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from export.onnx import attach_card, attached_card, file_sha256
from export.triton import LOCK, Device, Serving, render_config, verify_lock, write_entry, write_lock
from harness.card import CARD_KEY, WEIGHTS_KEY, Card
from harness.errors import CardError
from harness.repository import load_entry, read_config
from harness.serving import TritonServer, find_tritonserver
from tests.unit.export.conftest import SIDE, Exported


def other(card: Card, name: str) -> Card:
    return card.model_copy(update={"name": name})


def test_an_entry_is_a_standard_one(exported: Exported, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, exported.model, exported.card)
    assert entry == load_entry(tmp_path / "dif.made_up")
    assert entry.model_file == tmp_path / "dif.made_up" / "1" / "model.onnx"
    config = read_config(entry.folder / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == ("dif.made_up", "onnxruntime", 32)
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
        ("image", DataType.TYPE_UINT8, [SIDE, SIDE, 3])
    ]
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [("score", DataType.TYPE_FP32, [3])]
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert [warm.batch_size for warm in config.model_warmup] == [1, 8]
    assert all(warm.inputs["image"].random_data for warm in config.model_warmup)
    assert "intra_op_thread_count" not in config.parameters


def test_files_beside_the_model_come_and_go_with_the_entry(exported: Exported, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, exported.model, exported.card, files={"patterns.npz": b"bytes"})
    assert (entry.folder / "patterns.npz").read_bytes() == b"bytes"
    assert verify_lock(tmp_path) == []
    entry = write_entry(tmp_path, exported.model, exported.card)
    assert not (entry.folder / "patterns.npz").exists()


def test_card_and_digest_travel_with_the_entry(exported: Exported, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, exported.model, exported.card)
    parameters = read_config(entry.folder / "config.pbtxt").parameters
    assert Card.model_validate_json(parameters[CARD_KEY].string_value) == exported.card == entry.card
    assert parameters[WEIGHTS_KEY].string_value == file_sha256(entry.model_file) == entry.weights_sha256
    assert attached_card(entry.model_file) == exported.card


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("auto", ModelInstanceGroup.KIND_AUTO),
        ("cpu", ModelInstanceGroup.KIND_CPU),
        ("gpu", ModelInstanceGroup.KIND_GPU),
    ],
)
def test_the_device_is_the_instance_groups_kind(exported: Exported, device: Device, kind: int) -> None:
    (group,) = render_config(exported.model, exported.card, Serving(device)).instance_group
    assert (group.kind, group.count) == (kind, 1)


def test_threads_are_named_as_the_backend_names_them(exported: Exported) -> None:
    config = render_config(exported.model, exported.card, Serving(threads=2))
    assert config.parameters["intra_op_thread_count"].string_value == "2"


def test_text_survives_quotes_and_other_alphabets(exported: Exported, tmp_path: Path) -> None:
    card = exported.card.model_copy(update={"summary": 'a "quoted" \\ line', "source": "Mikael Häggström\n\t’"})
    assert write_entry(tmp_path, exported.model, card).card == card


@pytest.mark.parametrize(("place", "value"), [(0, 4), (1, 0)])
def test_only_the_batch_may_be_free(exported: Exported, tmp_path: Path, place: int, value: int) -> None:
    model = onnx.load(exported.model)
    model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = value
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(CardError, match="tensor image: expected a free batch"):
        render_config(tmp_path / "model.onnx", exported.card)


def test_writing_again_changes_nothing(exported: Exported, tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    write_entry(tmp_path, exported.model, exported.card)
    first = content()
    write_entry(tmp_path, exported.model, exported.card)
    assert content() == first
    assert len(first) == 3


def test_the_lock_covers_every_entry(exported: Exported, tmp_path: Path) -> None:
    for name in ("dif.b", "dif.a"):
        write_entry(tmp_path, exported.model, other(exported.card, name))
    assert verify_lock(tmp_path) == []
    text = (tmp_path / LOCK).read_text()
    assert text.index("dif.a") < text.index("dif.b")


def _change_weights(folder: Path) -> None:
    path = folder / "1" / "model.onnx"
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    path.write_bytes(model.SerializeToString())


def _change_card(folder: Path) -> None:
    path = folder / "config.pbtxt"
    path.write_text(path.read_text().replace("Made up", "Made down"))


def _change_metadata(folder: Path) -> None:
    entry = load_entry(folder)
    attach_card(entry.model_file, entry.card.model_copy(update={"summary": "other"}))
    _state_digest(folder)
    write_lock(folder.parent)


def _state_digest(folder: Path) -> None:
    path = folder / "config.pbtxt"
    config = read_config(path)
    config.parameters[WEIGHTS_KEY].string_value = file_sha256(folder / "1" / "model.onnx")
    path.write_text(text_format.MessageToString(config))


def _add_version(folder: Path) -> None:
    (folder / "10").mkdir()
    (folder / "10" / "model.onnx").write_bytes(b"newer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_change_weights, ["model.onnx is not the locked one", "another digest"]),
        (_change_card, ["the card is not the locked one", "different cards"]),
        (_change_metadata, ["different cards"]),
    ],
)
def test_what_the_lock_does_not_say_is_named(
    exported: Exported, tmp_path: Path, change: object, said: list[str]
) -> None:
    assert callable(change)
    write_entry(tmp_path, exported.model, exported.card)
    change(tmp_path / "dif.made_up")
    problems = verify_lock(tmp_path)
    assert len(problems) == len(said)
    for word in said:
        assert any(word in item and item.startswith("dif.made_up: ") for item in problems), problems


def test_entries_and_lock_name_the_same_models(exported: Exported, tmp_path: Path) -> None:
    for name in ("dif.a", "dif.b"):
        write_entry(tmp_path, exported.model, other(exported.card, name))
    lock = (tmp_path / LOCK).read_text()
    (tmp_path / LOCK).write_text(lock.replace("dif.a", "dif.z"))
    assert verify_lock(tmp_path) == ["dif.a: not locked", "dif.z: locked, but not in the repository"]


@pytest.mark.parametrize("text", [None, "[", "\xff"])
def test_a_lock_that_is_none(exported: Exported, tmp_path: Path, text: str | None) -> None:
    write_entry(tmp_path, exported.model, exported.card)
    (tmp_path / LOCK).unlink()
    if text is not None:
        (tmp_path / LOCK).write_bytes(text.encode("latin-1"))
    with pytest.raises(CardError, match="a lock"):
        verify_lock(tmp_path)


@pytest.mark.triton
@pytest.mark.skipif(find_tritonserver() is None, reason="no tritonserver on this machine")
def test_a_real_server_loads_the_entry_and_settles_its_kind(exported: Exported, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, exported.model, exported.card)
    with TritonServer(tmp_path, [entry.name]) as server:
        client = InferenceServerClient(f"{server.host}:{server.grpc_port}")
        config: ModelConfig = client.get_model_config(entry.name).config
        client.close()
    (group,) = config.instance_group
    assert group.kind in (ModelInstanceGroup.KIND_CPU, ModelInstanceGroup.KIND_GPU)
    assert Card.model_validate_json(config.parameters[CARD_KEY].string_value) == exported.card
