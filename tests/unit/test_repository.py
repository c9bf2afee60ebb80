import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from harness.card import CARD_KEY, WEIGHTS_KEY, Card
from harness.errors import CardError
from harness.repository import Entry, find_entries, load_entry


def put(repository: Path, name: str, *, version: str = "1", card: str | None = None, said: str | None = None) -> Path:
    """Write an entry; ``card`` and ``said`` replace its card's JSON and its configuration's name."""
    folder = repository / name
    (folder / version).mkdir(parents=True)
    (folder / version / "model.onnx").write_bytes(b"a model")
    config = ModelConfig(name=name if said is None else said, backend="onnxruntime")
    config.parameters[CARD_KEY].string_value = Card(name=name).model_dump_json() if card is None else card
    config.parameters[WEIGHTS_KEY].string_value = "ab" * 32
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    return folder


def test_an_entry_is_read_whole(tmp_path: Path) -> None:
    folder = put(tmp_path, "dif.a")
    expected = Entry("dif.a", folder, folder / "1" / "model.onnx", Card(name="dif.a"), "ab" * 32)
    assert load_entry(folder) == expected
    assert find_entries(tmp_path) == [expected]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["dif.a", "dif.b", "resnet50.tv_int8"]),
        ("dif.*", ["dif.a", "dif.b"]),
        ("dif.[!a]", ["dif.b"]),
        ("resnet50.tv_int8", ["resnet50.tv_int8"]),
        ("*int?", ["resnet50.tv_int8"]),
    ],
)
def test_wildcards(tmp_path: Path, pattern: str, names: list[str]) -> None:
    for name in ("resnet50.tv_int8", "dif.b", "dif.a"):
        put(tmp_path, name)
    assert [entry.name for entry in find_entries(tmp_path, pattern)] == names


def test_only_what_matches_is_read(tmp_path: Path) -> None:
    put(tmp_path, "dif.a")
    put(tmp_path, "resnet50.broken", card="{")
    assert [entry.name for entry in find_entries(tmp_path, "dif.*")] == ["dif.a"]
    with pytest.raises(CardError, match=r"resnet50\.broken"):
        find_entries(tmp_path, "*")


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "dif.a")
    put(tmp_path, "Not.Ours", card="{")
    (tmp_path / "MODELS.lock").write_text("")
    (tmp_path / "dif.empty").mkdir()
    assert [entry.name for entry in find_entries(tmp_path)] == ["dif.a"]


def test_no_match_offers_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, "dif.miniature")
    with pytest.raises(CardError, match=re.escape("Did you mean 'dif.miniature'?")):
        find_entries(tmp_path, "dif.minature")


@pytest.mark.parametrize("pattern", ["../dif.a", "/", "", "dif.a/1", "."])
def test_a_pattern_never_becomes_a_path(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "dif.a")
    (tmp_path / "inner").mkdir()
    with pytest.raises(CardError, match="got none"):
        find_entries(tmp_path / "inner", pattern)


def test_a_name_that_can_be_no_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="a model configuration, got embedded null byte"):
        load_entry(tmp_path / "dif.\0")


def test_an_empty_repository_says_how_to_fill_it(tmp_path: Path) -> None:
    for repository in (tmp_path, tmp_path / "none"):
        with pytest.raises(CardError, match="harness export NAME"):
            find_entries(repository)


def test_the_newest_version_counts_as_a_number(tmp_path: Path) -> None:
    folder = put(tmp_path, "dif.a", version="9")
    for version in ("10", "latest", "11"):
        (folder / version).mkdir()
    for version in ("10", "latest"):
        (folder / version / "model.onnx").write_bytes(b"another")
    assert load_entry(folder).model_file == folder / "10" / "model.onnx"


def test_a_missing_model_says_how_to_build_it(tmp_path: Path) -> None:
    folder = put(tmp_path, "dif.a")
    (folder / "1" / "model.onnx").unlink()
    with pytest.raises(CardError, match=r"Build it: harness export dif\.a"):
        load_entry(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"card": "{"}, "a valid card"),
        ({"card": '{"name": "dif.a", "colour": 1}'}, "colour"),
        ({"card": Card(name="dif.b").model_dump_json()}, "card 'dif.b'"),
        ({"said": "dif.b"}, "configuration 'dif.b'"),
    ],
)
def test_an_entry_that_contradicts_itself(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(CardError, match=said):
        load_entry(put(tmp_path, "dif.a", **changes))


@pytest.mark.parametrize("content", [b"name: ", b'nme: "dif.a"', b"\xff\xfe", b'name: "dif.a" }'])
def test_a_configuration_that_is_none(tmp_path: Path, content: bytes) -> None:
    folder = put(tmp_path, "dif.a")
    (folder / "config.pbtxt").write_bytes(content)
    with pytest.raises(CardError, match="a model configuration"):
        load_entry(folder)


def test_an_entry_without_a_card(tmp_path: Path) -> None:
    folder = put(tmp_path, "dif.a")
    (folder / "config.pbtxt").write_text('name: "dif.a" backend: "onnxruntime"')
    with pytest.raises(CardError, match=f"a parameter {re.escape(CARD_KEY)}"):
        load_entry(folder)
