"""Walks everything that ships in the model repository."""

import re
from pathlib import Path

import pytest

from export.attributors import ATTRIBUTORS
from export.catalog import EXPORTS, build
from export.detectors import ARCHITECTURES
from export.onnx import attached_card
from export.parity import check_parity, probe_inputs
from export.training.recipe import Recipe
from export.triton import verify_lock
from harness.backends import open_backend
from harness.backends.base import EndpointOptions
from harness.card import DERIVED
from harness.data.miniature import GENERATORS
from harness.repository import Entry, find_entries, load_entry, read_config

SHIPPED = find_entries(Path(__file__).parents[3] / "model_repository")
TRAINED = [entry for entry in SHIPPED if entry.name not in EXPORTS]
DETECTORS = [entry for entry in TRAINED if entry.name.partition(".")[0] in ARCHITECTURES]
ATTRIBUTING = [entry for entry in TRAINED if entry.card.task == "attribution"]
MADE_OF_OTHERS = [entry for entry in SHIPPED if entry.card.task in DERIVED]
GIVEN = [entry for entry in SHIPPED if entry.card.task not in DERIVED]
each = pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)


def test_the_lock_holds(repository: Path) -> None:
    assert verify_lock(repository) == []


@pytest.mark.parametrize("entry", GIVEN, ids=lambda entry: entry.name)
def test_it_carries_a_parity_verdict_that_passed_on_a_server(entry: Entry) -> None:
    assert entry.card.parity is not None
    assert entry.card.parity.passed
    assert entry.card.parity.served_max_abs is not None


@pytest.mark.parametrize("entry", MADE_OF_OTHERS, ids=lambda entry: entry.name)
def test_one_made_of_another_says_of_which_and_was_proven_on_a_server(entry: Entry) -> None:
    origin = load_entry(entry.folder.parent / entry.name.removesuffix(f".{entry.card.task}"))
    assert entry.card.training["entry_sha256"] == origin.weights_sha256
    assert "served 0" in str(entry.card.training[entry.card.task])


@each
def test_it_says_what_it_is(entry: Entry) -> None:
    assert entry.card.summary
    assert entry.card.source
    assert entry.card.licence not in ("", "unknown", "none stated")
    assert all(head.trained_on for head in entry.card.heads)


@each
def test_it_is_small_enough_to_track(entry: Entry) -> None:
    assert entry.model_file.stat().st_size <= 2_500_000


@pytest.mark.parametrize(("entries", "most"), [(DETECTORS, 25_000_000), (ATTRIBUTING, 12_000_000)])
def test_they_are_small_together(entries: list[Entry], most: int) -> None:
    assert 0 < sum(entry.model_file.stat().st_size for entry in entries) <= most


def test_every_architecture_ships_for_every_generator() -> None:
    crossed = {f"{architecture}.mini_{generator}" for architecture in ARCHITECTURES for generator in GENERATORS}
    assert crossed <= {entry.name for entry in TRAINED}


@pytest.mark.parametrize("entry", TRAINED, ids=lambda entry: entry.name)
def test_what_is_trained_says_how_it_can_be_trained_again(entry: Entry) -> None:
    said = entry.card.training
    assert {"data_sha256", "images", "steps", "seed", "recipe"} <= said.keys()
    assert {"weights_sha256", "bank_sha256"} & said.keys()
    assert re.fullmatch(r"[0-9a-f]{12}\+?", str(said["revision"]))


@pytest.mark.parametrize("entry", DETECTORS, ids=lambda entry: entry.name)
def test_a_detector_is_trained_as_its_architecture_says(entry: Entry) -> None:
    said = entry.card.training
    assert "contents" in said
    architecture = ARCHITECTURES[entry.name.partition(".")[0]]
    assert Recipe.model_validate_json(str(said["recipe"])).lr == architecture.recipes["miniature"].lr
    assert entry.card.preprocess == architecture.preprocess["miniature"]


@each
def test_card_configuration_and_graph_agree(entry: Entry) -> None:
    config = read_config(entry.folder / "config.pbtxt")
    backend = open_backend(f"onnx:{entry.model_file}", EndpointOptions())
    info = backend.info()
    backend.close()
    assert info.card == attached_card(entry.model_file) == entry.card
    assert info.weights_sha256 == entry.weights_sha256
    assert {item.name: (-1, *item.dims) for item in config.input} == {name: s for name, (_, s) in info.inputs.items()}
    assert {item.name: (-1, *item.dims) for item in config.output} == {name: s for name, (_, s) in info.outputs.items()}
    if not entry.card.represent:
        assert info.inputs[entry.card.input][1][1:3] == (entry.card.preprocess.crop,) * 2
    assert info.outputs[entry.card.output] == ("FP32", (-1, entry.card.outputs))


@pytest.mark.parametrize("name", ATTRIBUTORS)
def test_every_method_of_attribution_ships(name: str) -> None:
    trainings = [entry for entry in ATTRIBUTING if entry.name.startswith(f"{name}.mini_s")]
    assert len(trainings) == (5 if ATTRIBUTORS[name].recipes["miniature"].epochs else 1)
    assert {"gan", "nature"} <= set.intersection(*(set(entry.card.classes) for entry in trainings))


@pytest.mark.parametrize("name", [entry.name for entry in SHIPPED if entry.name in EXPORTS])
def test_it_still_answers_as_its_tracked_weights_do(name: str, repository: Path) -> None:
    entry = load_entry(repository / name)
    built = build(entry.name, {})
    assert built.card == entry.card.model_copy(update={"parity": None})
    inputs = probe_inputs(built.card)
    parity = check_parity(built.module, entry.model_file, built.card, inputs, tolerance=built.tolerance)
    assert parity.passed
