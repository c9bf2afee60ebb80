import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import harness.models
from harness.backends import Backend, open_backend
from harness.backends.base import EndpointOptions
from harness.card import CARD_KEY, Card
from harness.errors import CardError, EndpointError, EndpointUnavailable
from harness.models import Wanted, expand, open_models
from harness.repository import load_entry
from harness.spec.suite import ModelSpec

BOX = {"preprocess": {"crop": 32}, "input": "image", "output": "score", "score": "probability"}


def put(repository: Path, *names: str) -> Path:
    """Write entries that can be found, but not opened."""
    for name in names:
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.onnx").write_bytes(b"a model")
        config = ModelConfig(name=name, backend="onnxruntime")
        config.parameters[CARD_KEY].string_value = Card(name=name).model_dump_json()
        (repository / name / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    return repository


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return put(tmp_path / "repository", "dif.b", "resnet50.tv", "dif.a")


def spec(name: str, **said: Any) -> ModelSpec:
    return ModelSpec.model_validate({"name": name, **said})


def scripted(name: str, **script: Any) -> ModelSpec:
    return spec(name, endpoint=f"scripted:{json.dumps({'card': {'name': name}, **script})}", options={"retries": 0})


def names(found: list[Wanted]) -> list[str]:
    return [item.name for item in found]


def on_the_server(name: str) -> str:
    return f"grpc://127.0.0.1:8001/{name}"


@pytest.mark.parametrize(
    ("wildcards", "found"),
    [
        (["*"], ["dif.a", "dif.b", "resnet50.tv"]),
        (["dif.*"], ["dif.a", "dif.b"]),
        (["resnet50.tv", "dif.*"], ["resnet50.tv", "dif.a", "dif.b"]),
        (["dif.[!a]"], ["dif.b"]),
        (["*.t?"], ["resnet50.tv"]),
    ],
)
def test_wildcards_find_entries_in_the_suites_order(bank: Path, wildcards: list[str], found: list[str]) -> None:
    assert names(expand([spec(wildcard) for wildcard in wildcards], bank)) == found


def test_a_name_alone_is_the_repositorys_file_in_process(bank: Path) -> None:
    (found,) = expand([spec("dif.a", options={"batch": 5})], bank)
    assert found.endpoint == f"onnx:{bank / 'dif.a' / '1' / 'model.onnx'}"
    assert found.transport == "onnx"
    assert found.spec.options.batch == 5


@pytest.mark.parametrize(
    ("endpoint", "transport"),
    [
        ("onnx:/models/a.onnx", "onnx"),
        ("scripted:script.yaml", "scripted"),
        ("grpc://host:8001/a", "grpc://host:8001/a"),
        ("https://host/a", "https://host/a"),
    ],
)
def test_an_endpoint_is_asked_as_it_is_written(tmp_path: Path, endpoint: str, transport: str) -> None:
    asked = spec("acme.a", endpoint=endpoint)
    assert expand([asked], tmp_path / "no repository") == [Wanted("acme.a", asked, endpoint, transport)]


def test_an_endpoint_goes_before_the_entry_of_its_name(bank: Path) -> None:
    (found,) = expand([spec("dif.a", endpoint="grpc://host:8001/other")], bank, on_the_server, everything=True)
    assert found.endpoint == "grpc://host:8001/other"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("dif.aa", "Did you mean 'dif.a'?"),
        ("resnet5.tv", "Did you mean 'resnet50.tv'?"),
        ("spec.*", "Choose from: dif.a, dif.b, resnet50.tv"),
    ],
)
def test_a_missing_name_offers_what_is_there(bank: Path, asked: str, said: str) -> None:
    with pytest.raises(CardError, match=re.escape(said)) as caught:
        expand([spec("dif.b"), spec(asked)], bank)
    assert repr(asked) in str(caught.value)


@pytest.mark.parametrize(
    "others",
    [[spec("dif.a")], [spec("*.a")], [spec("dif.a", endpoint="grpc://host:8001/a")]],
    ids=["name", "wildcard", "endpoint"],
)
def test_each_model_stands_once(bank: Path, others: list[ModelSpec]) -> None:
    with pytest.raises(CardError, match=r"model dif\.a: expected each model once"):
        expand([spec("dif.*"), *others], bank)


def test_everything_is_asked_on_the_runs_own_server(bank: Path) -> None:
    found = expand([spec("dif.*")], bank, on_the_server, everything=True)
    assert [item.endpoint for item in found] == ["grpc://127.0.0.1:8001/dif.a", "grpc://127.0.0.1:8001/dif.b"]


def test_the_servers_port_is_no_part_of_what_is_asked(bank: Path) -> None:
    one, other, none = (
        expand([spec("dif.a")], bank, served, everything=True)[0].transport
        for served in (on_the_server, lambda name: f"grpc://127.0.0.1:9999/{name}", None)
    )
    assert one == other == none == "grpc:served"


def test_a_variant_lies_over_its_models_options(bank: Path) -> None:
    asked = spec("dif.a", options={"batch": 4, "timeout_s": 9}, variants={"one": {"batch": 1}, "plain": {}})
    found = {item.name: item for item in expand([asked], bank)}
    assert {name: item.spec.options.batch for name, item in found.items()} == {
        "dif.a": 4,
        "dif.a@one": 1,
        "dif.a@plain": 4,
    }
    assert {item.spec.options.timeout_s for item in found.values()} == {9}
    assert len({item.endpoint for item in found.values()}) == 1


def test_a_wildcard_gives_its_variants_to_every_model(bank: Path) -> None:
    found = expand([spec("dif.*", variants={"one": {"batch": 1}})], bank)
    assert names(found) == ["dif.a", "dif.a@one", "dif.b", "dif.b@one"]


def test_a_served_variant_alone_is_asked_on_the_server(bank: Path) -> None:
    plain, served = expand([spec("dif.a", variants={"served": {"served": True}})], bank, on_the_server)
    assert plain.transport == "onnx"
    assert (served.endpoint, served.transport) == ("grpc://127.0.0.1:8001/dif.a", "grpc:served")


def test_opened_models_answer_and_say_who_they_are(repository: Path) -> None:
    with open_models(expand([spec("dif.miniature"), scripted("toy.one")], repository)) as models:
        entry = load_entry(repository / "dif.miniature")
        assert list(models) == ["dif.miniature", "toy.one"]
        assert models["dif.miniature"].card == entry.card
        assert models["dif.miniature"].info.weights_sha256 == entry.weights_sha256
        assert [model.local for model in models.values()] == [True, False]
        answered = models["toy.one"].backend.infer({"image": np.full((1, 4, 4, 3), 255, np.uint8)})
        np.testing.assert_array_equal(answered["score"], [[1.0]])


def test_what_the_suite_says_goes_before_the_models_own_card() -> None:
    asked = scripted("toy.one").model_dump() | {"name": "acme.one", "card": BOX}
    with open_models(expand([ModelSpec.model_validate(asked)], Path())) as models:
        card = models["acme.one"].card
    assert (card.name, card.score, card.preprocess.crop) == ("acme.one", "probability", 32)


@pytest.fixture
def nameless(tmp_path: Path) -> str:
    """The address of a graph that carries no card."""
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    return f"onnx:{tmp_path / 'm.onnx'}"


def test_a_model_that_nobody_describes_says_where_to_describe_it(nameless: str) -> None:
    with (
        pytest.raises(CardError, match=r"acme\.one at onnx:.*Describe it in the suite: card:"),
        open_models(expand([spec("acme.one", endpoint=nameless)], Path())),
    ):
        pass


def test_a_model_that_the_suite_describes_needs_no_card(nameless: str) -> None:
    with open_models(expand([spec("acme.one", endpoint=nameless, card=BOX)], Path())) as models:
        assert models["acme.one"].info.card is None
        assert models["acme.one"].card.summary == "described by the suite"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Endpoints in the order in which their real backends are closed."""
    seen: list[str] = []

    def watched(endpoint: str, options: EndpointOptions) -> Backend:
        backend = open_backend(endpoint, options)
        close: Callable[[], None] = backend.close

        def closing() -> None:
            seen.append(endpoint)
            close()

        backend.close = closing  # type: ignore[method-assign]
        return backend

    monkeypatch.setattr(harness.models, "open_backend", watched)
    return seen


def test_all_are_closed_at_the_end_and_not_before(closed: list[str]) -> None:
    wanted = expand([scripted("toy.one"), scripted("toy.two")], Path())
    with open_models(wanted):
        assert closed == []
    assert sorted(closed) == sorted(item.endpoint for item in wanted)


def test_all_are_closed_when_the_work_fails(closed: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), open_models(expand([scripted("toy.one")], Path())):
        raise ZeroDivisionError
    assert len(closed) == 1


def test_what_was_opened_is_closed_when_a_later_one_is_not_there(closed: list[str], tmp_path: Path) -> None:
    wanted = expand([scripted("toy.one"), spec("toy.two", endpoint=f"onnx:{tmp_path / 'none.onnx'}")], Path())
    with pytest.raises(EndpointUnavailable, match="an ONNX file"), open_models(wanted):
        pytest.fail("it opened")
    assert closed == [wanted[0].endpoint]


def test_what_was_opened_is_closed_when_a_later_one_does_not_say_who_it_is(closed: list[str]) -> None:
    away = spec("toy.two", endpoint="grpc://127.0.0.1:1/two", options={"retries": 0, "timeout_s": 2})
    wanted = expand([scripted("toy.one"), away, scripted("toy.three")], Path())
    with pytest.raises(EndpointError), open_models(wanted):
        pytest.fail("it opened")
    assert sorted(closed) == sorted(item.endpoint for item in wanted[:2])


def test_a_model_without_card_is_closed_too(closed: list[str], nameless: str) -> None:
    wanted = expand([scripted("toy.one"), spec("toy.two", endpoint=nameless)], Path())
    with pytest.raises(CardError), open_models(wanted):
        pytest.fail("it opened")
    assert len(closed) == 2


def test_wildcards_mean_what_the_tasks_can_ask(repository: Path) -> None:
    asked = names(expand([spec("*.mini_*")], repository, tasks={"detection"}))
    assert {item.partition(".")[0] for item in asked} >= {"npr", "spec"}
    told = names(expand([spec("*.mini_*")], repository, tasks={"attribution"}))
    assert {item.partition(".")[0] for item in told} >= {"manifpt_frequency", "durall20"}
    assert not set(asked) & set(told)
    assert names(expand([spec("embedder.mini_sl")], repository, tasks={"detection"})) == ["embedder.mini_sl"]
    with pytest.raises(CardError, match=r"models embedder\.\*: expected some of task detection, got embedding"):
        expand([spec("embedder.*")], repository, tasks={"detection"})
