"""Fleets of scripted models: who is asked, what a member that fails costs, and what a cell's key says of addresses."""

import json
import queue
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from harness.backends import open_backend
from harness.backends.base import EndpointOptions, ModelInfo
from harness.backends.fleet import LONGEST_REST_S, FleetBackend, model_of
from harness.backends.policy import GuardedBackend
from harness.backends.scripted import Script, ScriptedBackend
from harness.card import Card
from harness.data.opening import open_dataset
from harness.engines import answer
from harness.errors import CardError, EndpointError, EndpointRefused, EndpointTimeout, EndpointUnavailable, SuiteError
from harness.events import Silent
from harness.images import Preprocess
from harness.load.clients import single_try
from harness.load.watch import Watch
from harness.models import Model, expand, open_models
from harness.plan import Plan, make_plan
from harness.site.entry import read_entry
from harness.spec.load import load_suite
from harness.spec.suite import DataSpec, Suite
from harness.store.cells import CellStore
from harness.store.runs import RunInfo

CARD = Card(name="toy.bright", preprocess=Preprocess(crop=4), score="probability")
IMAGES = {"image": np.full((2, 4, 4, 3), 51, np.uint8)}
AWAY = {"kind": "unavailable"}


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """Holds requests that came until they are let go, the oldest first."""

    def __init__(self) -> None:
        self.came: queue.Queue[threading.Event] = queue.Queue()
        self.held: deque[tuple[threading.Event, threading.Thread]] = deque()

    def wait(self, _: float) -> None:
        mine = threading.Event()
        self.came.put(mine)
        assert mine.wait(10)

    def send(self, fleet: FleetBackend) -> None:
        """Send a request and return when its member holds it."""
        thread = threading.Thread(target=fleet.infer, args=(IMAGES,))
        thread.start()
        self.held.append((self.came.get(timeout=10), thread))

    def let_go(self) -> None:
        """Answer the oldest."""
        event, thread = self.held.popleft()
        event.set()
        thread.join(10)

    def pass_on(self) -> None:
        """Let the oldest fail, and the member that it goes to then answer at once."""
        self.held[0][0].set()
        self.came.get(timeout=10).set()
        self.held.popleft()[1].join(10)


def member(name: str, *faults: dict[str, Any], gate: Gate | None = None, **script: Any) -> ScriptedBackend:
    said = Script.model_validate({"card": CARD, "faults": faults, "delay_s": 1 if gate else 0, **script})
    options = EndpointOptions(retries=0)
    return ScriptedBackend(f"scripted:{name}", said, options, sleep=gate.wait if gate else lambda _: None)


def fleet(*members: ScriptedBackend, clock: Clock | None = None, tries: int | None = None) -> FleetBackend:
    return FleetBackend(members, EndpointOptions(backoff_s=1), tries, clock or Clock())


def requests(members: Sequence[ScriptedBackend]) -> list[int]:
    return [item.requests for item in members]


def test_idle_members_are_asked_by_turns() -> None:
    members = [member(name) for name in "abc"]
    backend = fleet(*members)
    seen = []
    for _ in range(6):
        before = requests(members)
        np.testing.assert_allclose(backend.infer(IMAGES)["score"], 0.2)
        seen.append([after - was for after, was in zip(requests(members), before, strict=True)].index(1))
    assert seen == [0, 1, 2, 0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=24))
def test_members_that_answer_alike_differ_by_one_request_at_most(count: int, steps: list[bool]) -> None:
    gate = Gate()
    backend = fleet(*(member(str(place), gate=gate) for place in range(count)))
    for arrives in steps:
        if arrives:
            gate.send(backend)
        elif gate.held:
            gate.let_go()
        assert sum(backend.under_way) == len(gate.held)
        assert max(backend.under_way) - min(backend.under_way) <= 1
    while gate.held:
        gate.let_go()
    assert not any(backend.under_way)


def test_a_slow_member_gets_no_more_while_others_are_free() -> None:
    gate = Gate()
    slow, fast = member("slow", gate=gate), member("fast")
    backend = fleet(slow, fast)
    gate.send(backend)
    for _ in range(5):
        backend.infer(IMAGES)
    assert backend.under_way == (1, 0)
    gate.let_go()
    assert requests([slow, fast]) == [1, 5]


def test_what_a_dead_member_was_asked_another_answers() -> None:
    dead, alive = member("dead", AWAY), member("alive")
    backend = fleet(dead, alive)
    for _ in range(5):
        np.testing.assert_allclose(backend.infer(IMAGES)["score"], 0.2)
    assert requests([dead, alive]) == [1, 5]
    assert backend.away == ("scripted:dead",)
    assert backend.under_way == (0, 0)


def test_a_dead_member_is_tried_again_after_a_rest_that_grows() -> None:
    clock = Clock()
    dead, alive = member("dead", AWAY), member("alive")
    backend, tried = fleet(dead, alive, clock=clock), []
    for tick in range(600):
        clock.now, before = tick / 2, dead.requests
        backend.infer(IMAGES)
        if dead.requests > before:
            tried.append(clock.now)
    assert np.diff(tried).tolist() == [1, 2, 4, 8, 16, 32, *[LONGEST_REST_S] * 3]
    assert alive.requests == 600


def test_a_server_may_ask_for_a_longer_rest() -> None:
    clock = Clock()
    busy, free = member("busy"), member("free")
    backend, infer, struck = fleet(busy, free, clock=clock), busy.infer, []

    def pushes_back(inputs: Any) -> Any:
        struck.append(clock.now)
        if len(struck) == 1:
            raise EndpointUnavailable("x", retry_after_s=7)
        return infer(inputs)

    busy.infer = pushes_back  # type: ignore[method-assign]
    for clock.now in range(10):
        backend.infer(IMAGES)
    assert struck == [0, 7, 9]


def test_failures_of_one_moment_are_one_rest() -> None:
    clock, gate = Clock(), Gate()
    backend = fleet(member("dead", {**AWAY, "times": 2}, gate=gate), member("alive", gate=gate), clock=clock)
    for _ in range(4):
        gate.send(backend)
    assert backend.under_way == (2, 2)
    gate.pass_on()
    gate.held.rotate(-1)
    gate.pass_on()
    assert backend.under_way == (0, 2)
    clock.now = 1.0
    gate.send(backend)
    assert backend.under_way == (1, 2)
    while gate.held:
        gate.let_go()


def test_one_that_comes_back_gets_one_request_until_it_has_answered() -> None:
    clock, gate = Clock(), Gate()
    backend = fleet(member("back", {**AWAY, "times": 1}, gate=gate), member("other", gate=gate), clock=clock)
    gate.send(backend)
    gate.pass_on()
    assert "scripted:back" in backend.away
    clock.now = 1.0
    for wanted in [(1, 0), (1, 1), (1, 2)]:
        gate.send(backend)
        assert backend.under_way == wanted
    gate.let_go()
    assert not backend.away
    for wanted in [(1, 2), (2, 2)]:
        gate.send(backend)
        assert backend.under_way == wanted
    while gate.held:
        gate.let_go()


@settings(max_examples=50, deadline=None)
@given(
    faults=st.lists(
        st.lists(
            st.builds(
                lambda kind, first, every, times: {"kind": kind, "first": first, "every": every, "times": times},
                st.sampled_from(["unavailable", "timeout"]),
                st.integers(0, 5),
                st.integers(1, 3),
                st.none() | st.integers(1, 4),
            ),
            max_size=2,
        ),
        max_size=4,
    ),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=20),
    place=st.integers(0, 4),
)
def test_one_member_that_answers_is_enough(faults: list[Any], pauses: list[float], place: int) -> None:
    clock = Clock()
    members = [member(str(number), *said) for number, said in enumerate(faults)]
    members.insert(min(place, len(members)), member("good"))
    backend = fleet(*members, clock=clock)
    for pause in pauses:
        clock.now += pause
        before = sum(requests(members))
        np.testing.assert_allclose(backend.infer(IMAGES)["score"], 0.2)
        assert sum(requests(members)) - before <= len(members)
    assert "scripted:good" not in backend.away
    assert not any(backend.under_way)


def test_a_refusal_is_not_passed_on() -> None:
    strict, other = member("strict", {"kind": "refused"}), member("other")
    backend = fleet(strict, other)
    with pytest.raises(EndpointRefused):
        backend.infer(IMAGES)
    assert other.requests == 0
    assert not backend.away


@pytest.mark.parametrize(
    ("kinds", "error"),
    [
        (["unavailable", "unavailable"], EndpointUnavailable),
        (["timeout", "unavailable"], EndpointUnavailable),
        (["timeout", "timeout"], EndpointTimeout),
    ],
)
def test_where_none_answers_the_error_names_all(kinds: list[str], error: type[EndpointError]) -> None:
    members = [member(f"at{place}", {"kind": kind, "times": 1}) for place, kind in enumerate(kinds)]
    backend = fleet(*members)
    with pytest.raises(error, match=r"one of 2 endpoints.*scripted:at0: .*scripted:at1: .*\. Start one"):
        backend.infer(IMAGES)
    np.testing.assert_allclose(backend.infer(IMAGES)["score"], 0.2)  # members that rest are asked where all do


def test_the_policy_tries_again_when_none_answers() -> None:
    waits: list[float] = []
    members = [member(name, {**AWAY, "times": 2}) for name in "ab"]
    backend = GuardedBackend(fleet(*members), sleep=waits.append, draw=lambda: 1.0)
    np.testing.assert_allclose(backend.infer(IMAGES)["score"], 0.2)
    assert waits == [1.0, 2.0]


def test_loads_count_what_a_member_does_not_answer() -> None:
    dead, alive = member("dead", AWAY), member("alive")
    backend = single_try(GuardedBackend(fleet(GuardedBackend(dead), GuardedBackend(alive))))  # type: ignore[arg-type]
    with pytest.raises(EndpointUnavailable, match="scripted:dead"):
        backend.infer(IMAGES)
    for _ in range(3):
        backend.infer(IMAGES)
    assert requests([dead, alive]) == [1, 3]


class Counting(ScriptedBackend):
    """Tells one pair of counters after the other, as Triton does of requests and their nanoseconds in its queue."""

    tells: list[tuple[int, int] | None]

    def statistics(self) -> dict[str, tuple[int, int]] | None:
        told = self.tells.pop(0)
        return None if told is None else {"queue": told}


def counting(*tells: tuple[int, int] | None) -> Counting:
    backend = Counting("scripted:counting", Script(card=CARD), EndpointOptions())
    backend.tells = list(tells)
    return backend


@pytest.mark.parametrize(
    ("tells", "queue"),
    [
        ([[(1, 0), (3, 4 * 10**9)], [(10, 0), (12, 2 * 10**9)]], 1.5),
        ([[(1, 0), (3, 4 * 10**9)], [(10, 0), None]], None),
        ([[(1, 0), (3, 4 * 10**9)], [None, (12, 10**9)]], None),
        ([[(1, 0), (3, 4 * 10**9)], [(10, 0), (0, 0)]], None),
    ],
    ids=["both", "one dies", "one comes", "one begins anew"],
)
def test_a_fleets_counters_are_told_while_all_members_tell_theirs(tells: list[Any], queue: float | None) -> None:
    backend = fleet(*(counting(*said) for said in tells))
    with Watch(Model("toy.bright", CARD, SAME, backend, "scripted")) as watch:
        assert watch.server()[0] == queue


class Changing(ScriptedBackend):
    """Says one thing after the other of itself; an error is raised."""

    says: list[ModelInfo | EndpointError]

    def info(self) -> ModelInfo:
        said = self.says.pop(0)
        if isinstance(said, EndpointError):
            raise said
        return said


def changing(*says: ModelInfo | EndpointError, faults: Sequence[dict[str, Any]] = ()) -> Changing:
    said = Script.model_validate({"card": CARD, "faults": faults})
    backend = Changing("scripted:changing", said, EndpointOptions(), sleep=lambda _: None)
    backend.says = list(says)
    return backend


SAME = member("same").info()
OTHER = SAME.model_copy(update={"weights_sha256": "f" * 64})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (member("b", rule="hash"), r"scripted:b: weights_sha256: expected '[0-9a-f]{64}' as at scripted:a, got '"),
        (
            member("b", card=CARD.model_copy(update={"fake": "low"})),
            "scripted:b: card fake: expected 'high' as at scripted:a, got 'low'. Deploy one model",
        ),
    ],
    ids=["weights", "card"],
)
def test_members_are_one_model(other: ScriptedBackend, said: str) -> None:
    with pytest.raises(CardError, match=said):
        fleet(member("a"), other).info()


def test_a_member_that_is_away_at_first_is_met_before_it_is_asked() -> None:
    clock, away = Clock(), EndpointUnavailable("away")
    late = changing(away, SAME)
    backend = fleet(member("a"), late, clock=clock)
    assert backend.info() == SAME
    assert backend.away == ("scripted:changing",)
    backend.infer(IMAGES)
    assert len(late.says) == 1
    clock.now = 1.0
    for _ in range(4):
        backend.infer(IMAGES)
    assert late.says == []
    assert late.requests == 2
    assert not backend.away


def test_a_member_that_does_not_say_who_it_is_is_not_back() -> None:
    clock = Clock()
    late = changing(EndpointUnavailable("away"), EndpointRefused("no such model"), SAME)
    backend = fleet(member("a"), late, clock=clock)
    backend.info()
    clock.now = 1.0
    backend.infer(IMAGES)
    backend.infer(IMAGES)
    assert (len(late.says), late.requests) == (1, 0)
    clock.now = 3.0
    backend.infer(IMAGES)
    backend.infer(IMAGES)
    assert late.requests == 1


def test_a_member_that_comes_back_as_another_model_ends_it() -> None:
    clock = Clock()
    late = changing(SAME, OTHER, faults=[{**AWAY, "times": 1}])
    backend = fleet(late, member("b"), clock=clock)
    backend.info()
    backend.infer(IMAGES)
    clock.now = 1.0
    with pytest.raises(CardError, match=r"scripted:changing: weights_sha256: expected .* got 'ffff"):
        for _ in range(2):
            backend.infer(IMAGES)
    assert late.requests == 1
    assert backend.under_way == (0, 0)


def test_none_at_first_is_an_error_that_names_all() -> None:
    with pytest.raises(EndpointUnavailable, match=r"one \| two"):
        fleet(changing(EndpointUnavailable("one")), changing(EndpointUnavailable("two"))).info()


@pytest.mark.parametrize(
    ("address", "model"),
    [
        ("grpc://a:8001/x", "grpc:x"),
        ("grpc://b.example.org:1/x/", "grpc:x"),
        ("https://[::1]:8000/x/3", "https:x/3"),
        ('scripted:{"card": {"source": "http://a/b"}}', "scripted"),
        ("onnx:/a/b.onnx", "onnx"),
    ],
)
def test_a_model_is_what_an_address_says_but_for_its_host(address: str, model: str) -> None:
    assert model_of(address) == model


SUITE = """\
name: fleet
data: {{d: {{layout: miniature}}}}
models:
  - name: acme.x
    endpoint: {endpoint}
tasks: [{{kind: detection, name: t, data: d}}]
"""


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("[]", "each address once, and at least one"),
        ("[grpc://a:1/x, grpc://a:1/x]", "each address once"),
        ("[grpc://a:1/x, grpc://b:1/y]", "one model by one protocol, not grpc:x, grpc:y"),
        ("[grpc://a:1/x, http://b:1/x]", "one model by one protocol, not grpc:x, http:x"),
        ("[onnx:a.onnx, onnx:b.onnx]", "write it without a list"),
        ("[1]", "expected a valid string, got 1"),
    ],
)
def test_lists_that_are_no_fleet_are_refused_where_they_stand(tmp_path: Path, endpoint: str, said: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.format(endpoint=endpoint))
    with pytest.raises(SuiteError, match=rf"suite\.yaml:5: models\.0\.endpoint.*{said}"):
        load_suite(path)


def test_a_list_that_holds_no_address_says_so() -> None:
    with pytest.raises(SuiteError, match="grpc://HOST:PORT/MODEL"):
        open_backend(("grpc://127.0.0.1:1/x", "grpc://b/x"), EndpointOptions())


def suite(*faults: Sequence[dict[str, Any]], **options: Any) -> Suite:
    scripts = [{"card": {"name": "toy.bright"}, "faults": said, "delay_s": 1e-6 * n} for n, said in enumerate(faults)]
    return Suite.model_validate(
        {
            "name": "fleet",
            "data": {"d": {"layout": "miniature"}},
            "models": [
                {
                    "name": "toy.bright",
                    "endpoint": [f"scripted:{json.dumps(script)}" for script in scripts],
                    "options": {"batch": 1, "retries": 0, "backoff_s": 0.001, **options},
                }
            ],
            "tasks": [{"kind": "detection", "name": "t", "data": "d"}],
        }
    )


def go(asked: Suite, folder: Path, cells: str) -> tuple[Plan, CellStore, tuple[int, ...]]:
    """Ask a fleet about twelve images."""
    random = np.random.default_rng(0)
    for kind in ("0_real", "1_fake"):
        (folder / "images" / "set" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            PILImage.fromarray(pixels).save(folder / "images" / "set" / kind / f"{number}.png")
    data = open_dataset("d", DataSpec(layout="real_fake", root="images"), folder, folder / "manifests", Silent())
    store = CellStore(folder / cells)
    with open_models(expand(asked.models, Path())) as models:
        plan = make_plan(asked, models, {"d": data})
        answer(plan.cells, models, {"d": data}, store, asked.seed, Silent())
        backend = models["toy.bright"].backend
        assert isinstance(backend, GuardedBackend)
        assert isinstance(backend.inner, FleetBackend)
        counts = tuple(item.inner.requests for item in backend.inner.members)  # type: ignore[attr-defined]
    return plan, store, counts


def rows(plan: Plan, store: CellStore) -> list[dict[str, Any]]:
    return [row for cell in plan.cells for row in store.read(cell.key).to_pylist()]


def test_a_fleet_answers_as_one_and_keeps_the_key_of_any_other(tmp_path: Path) -> None:
    three = go(suite([{"kind": "unavailable", "first": 2}], [], [{"kind": "timeout", "times": 1}]), tmp_path, "three")
    one = go(suite([]), tmp_path, "one")
    again = go(suite([], [{"kind": "timeout", "times": 1}]), tmp_path, "three")
    assert three[0].keys == one[0].keys == again[0].keys
    assert rows(*three[:2]) == rows(*one[:2])
    assert all(row["scores"] is not None for row in rows(*three[:2]))
    assert len(rows(*three[:2])) == 12
    assert sum(three[2]) >= 12 + 2
    assert again[2] == (0, 0)


def test_every_address_of_a_model_is_told() -> None:
    (fleet_of_two,), (one,), (none,) = (
        Suite.model_validate({"name": "s", "models": [said], "tasks": [{"kind": "gray", "history": "h.csv"}]}).models
        for said in (
            {"name": "acme.x", "endpoint": ["grpc://a:1/x", "grpc://b:1/x"]},
            {"name": "acme.x", "endpoint": "grpc://a:1/x"},
            "acme.x",
        )
    )
    assert fleet_of_two.addresses == ("grpc://a:1/x", "grpc://b:1/x")
    assert (one.endpoint, one.addresses) == ("grpc://a:1/x", ("grpc://a:1/x",))
    assert none.addresses == ()
    run = RunInfo(
        id="r",
        plan="p",
        suite="s.yaml",
        spec={"models": [fleet_of_two.model_dump(mode="json")]},
        status="running",
        started="",
    )
    assert read_entry("r", run.model_dump_json().encode(), None).endpoint("acme.x") == "grpc://a:1/x, grpc://b:1/x"


def test_a_fleet_has_as_many_requests_in_flight_as_its_members_together() -> None:
    with open_models(expand(suite([], [], [], concurrency=4).models, Path())) as models:
        assert models["toy.bright"].backend.options.concurrency == 12
