"""What each fault of an endpoint becomes: its error, its message, whether it is tried again, and how a run ends.

The tables of docs/faults.md are the ones that run here.
"""

import datetime
import inspect
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
import trustme
import yaml

from harness import errors
from harness.backends import EndpointOptions, open_backend
from harness.backends.base import ModelInfo
from harness.backends.policy import LONGEST_WAIT_S, GuardedBackend
from harness.card import Card
from harness.data.sample import Sample
from harness.engines import AWAY, GIVE_UP, ask
from harness.errors import (
    NOT_FINITE,
    EndpointBadAnswer,
    EndpointDenied,
    EndpointError,
    EndpointInsecure,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    SuiteError,
)
from harness.events import Silent
from harness.images.preprocess import Preprocess
from harness.models import Model
from harness.run import Asked, run
from harness.store.records import RETRIED
from tests.contract import faulty
from tests.contract.faulty import MODEL, SIDE, Answer, Script
from tests.noise import write_noise

DOC = Path(__file__).parents[2] / "docs" / "faults.md"
SHORT: dict[str, Any] = {"timeout_s": 0.15}
RETRIES = 1
CARD = Card(name="toy.bright", preprocess=Preprocess(crop=SIDE), score="probability")
IMAGES = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (51, 102)]
SAMPLES = [Sample(f"{n}.png", "", 0, SIDE, SIDE, "png", None, 0, "set", "test", "") for n in range(2)]
CHUNK = list(zip(range(2), SAMPLES, IMAGES, strict=True))

Place = Callable[["Certificates"], AbstractContextManager[tuple[str, dict[str, Any]]]]
"""An endpoint with a fault: its address, and the options that it is used with."""


class Certificates:
    """A CA, certificates of it, and their files."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.folder = trustme.CA(), folder
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        day = datetime.datetime(2020, 1, 1)
        self.issued = {
            "good": self.ca.issue_cert("127.0.0.1"),
            "elsewhere": self.ca.issue_cert("elsewhere.example"),
            "expired": self.ca.issue_cert("127.0.0.1", not_before=day, not_after=day + datetime.timedelta(1)),
        }

    def context(self, name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issued[name].configure_cert(made)
        return made

    def pems(self, name: str) -> tuple[bytes, bytes]:
        issued = self.issued[name]
        return issued.private_key_pem.bytes(), b"".join(blob.bytes() for blob in issued.cert_chain_pems)

    @property
    def trusted(self) -> dict[str, Any]:
        return {"tls": {"ca": str(self.folder / "ca.pem")}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


def set_up(script: Script, fault: Callable[[Any], None] | None, answer: Answer) -> None:
    script.fault, script.answer = fault, answer


def http(fault: Callable[[Any], None] | None = None, answer: Answer = faulty.right, **options: Any) -> Place:
    @contextmanager
    def place(_: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with faulty.serving_http() as server:
            set_up(server.script, fault, answer)
            yield server.url, options

    return place


def rpc(fault: Callable[[Any], None] | None = None, answer: Answer = faulty.right, **options: Any) -> Place:
    @contextmanager
    def place(_: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with faulty.serving_grpc() as server:
            set_up(server.script, fault, answer)
            yield server.url, options

    return place


def https(certificate: str, trusted: bool = True) -> Place:
    @contextmanager
    def place(made: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with faulty.serving_http(made.context(certificate)) as server:
            yield server.url, made.trusted if trusted else {}

    return place


def grpcs(certificate: str, trusted: bool = True) -> Place:
    @contextmanager
    def place(made: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with faulty.serving_grpc(made.pems(certificate)) as server:
            yield server.url, made.trusted if trusted else {}

    return place


def plain(scheme: str, inner: Place) -> Place:
    """A server without TLS at an address that asks for it."""

    @contextmanager
    def place(made: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with inner(made) as (url, options):
            yield f"{scheme}s:{url.partition(':')[2]}", options

    return place


def nothing(scheme: str) -> Place:
    return lambda _: nullcontext((f"{scheme}://127.0.0.1:1/{MODEL}", {}))


def raw(scheme: str, serve: Callable[[], AbstractContextManager[int]], **options: Any) -> Place:
    @contextmanager
    def place(_: Certificates) -> Iterator[tuple[str, dict[str, Any]]]:
        with serve() as port:
            yield f"{scheme}://127.0.0.1:{port}/{MODEL}", options

    return place


def answers(answer: Answer) -> dict[str, Place]:
    return {"http": http(answer=answer), "grpc": rpc(answer=answer)}


def refusals(status: int, code: grpc.StatusCode, said: str = "not now") -> dict[str, Place]:
    return {"http": http(faulty.status(status, said=said)), "grpc": rpc(faulty.abort(code, said))}


Code = grpc.StatusCode
UNLOADED = "Request for unknown model: 'toy' has no available versions"


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        name: in words.
        places: endpoints that have it, by protocol.
        error: what it becomes; None: an answer that is no number.
        says: words of the message, beside the endpoint's address.
    """

    name: str
    places: dict[str, Place]
    error: type[EndpointError] | None
    says: str

    @property
    def record(self) -> str:
        return f"endpoint:{self.error.reason}" if self.error else NOT_FINITE


FAULTS = [
    Fault("nothing listens", {"http": nothing("http"), "grpc": nothing("grpc")}, EndpointUnavailable, "harness serve"),
    Fault(
        "the connection is reset",
        {"http": http(faulty.reset), "grpc": raw("grpc", faulty.slamming)},
        EndpointUnavailable,
        "harness serve",
    ),
    Fault("the connection ends without an answer", {"http": http(faulty.hang_up)}, EndpointUnavailable, "closed"),
    Fault("the connection ends within an answer", {"http": http(faulty.cut)}, EndpointUnavailable, "Incomplete"),
    Fault("too many requests (429)", refusals(429, Code.RESOURCE_EXHAUSTED), EndpointUnavailable, "options.retries"),
    Fault("not ready, overloaded (503)", refusals(503, Code.UNAVAILABLE), EndpointUnavailable, "options.retries"),
    Fault("a gateway without its server (502)", {"http": http(faulty.status(502))}, EndpointUnavailable, "502"),
    Fault("the model is unloaded", refusals(404, Code.NOT_FOUND, UNLOADED), EndpointUnavailable, "no available"),
    Fault(
        "taken, never answered",
        {scheme: raw(scheme, faulty.half_open, **SHORT) for scheme in ("http", "grpc")},
        EndpointTimeout,
        "options.timeout_s",
    ),
    Fault(
        "answered too late",
        {"http": http(faulty.late, **SHORT), "grpc": rpc(faulty.late_grpc, **SHORT)},
        EndpointTimeout,
        "options.timeout_s",
    ),
    Fault("answered byte by byte", {"http": http(faulty.drip, **SHORT)}, EndpointTimeout, "options.timeout_s"),
    Fault("no token, or an expired one (401)", refusals(401, Code.UNAUTHENTICATED), EndpointDenied, "bearer_env"),
    Fault("a token without the right (403)", refusals(403, Code.PERMISSION_DENIED), EndpointDenied, "bearer_env"),
    Fault(
        "a certificate of an unknown CA",
        {"http": https("good", trusted=False), "grpc": grpcs("good", trusted=False)},
        EndpointInsecure,
        "options.tls.ca",
    ),
    Fault(
        "a certificate of another host",
        {"http": https("elsewhere"), "grpc": grpcs("elsewhere")},
        EndpointInsecure,
        "host name",
    ),
    Fault("an expired certificate", {"http": https("expired"), "grpc": grpcs("expired")}, EndpointInsecure, "TLS"),
    Fault(
        "no TLS where it is asked for",
        {"http": plain("http", http()), "grpc": plain("grpc", rpc())},
        EndpointInsecure,
        "scheme",
    ),
    Fault("no such model (404)", refusals(404, Code.NOT_FOUND), EndpointRefused, "Check name and shapes"),
    Fault("a bad request (400)", refusals(400, Code.INVALID_ARGUMENT), EndpointRefused, "Check name and shapes"),
    Fault("the model fails (500)", refusals(500, Code.INTERNAL), EndpointRefused, "the server's log"),
    Fault("a redirect (307)", {"http": http(faulty.status(307))}, EndpointRefused, "not followed"),
    Fault("a page for people", {"http": http(faulty.page)}, EndpointBadAnswer, "a KServe v2 answer"),
    Fault("another protocol", {"http": http(faulty.another_protocol)}, EndpointBadAnswer, "a KServe v2 answer"),
    Fault("too few rows", answers(lambda v: ("score", v[:1], "FP32")), EndpointBadAnswer, "2 rows"),
    Fault("another shape", answers(lambda v: ("score", v.repeat(3, 1), "FP32")), EndpointBadAnswer, "shape (2, 1)"),
    Fault("another output", answers(lambda v: ("other", v, "FP32")), EndpointBadAnswer, "got none"),
    Fault(
        "another type than declared",
        answers(lambda v: ("score", v.astype(np.int32), "INT32")),
        EndpointBadAnswer,
        "FP32 as it says of itself",
    ),
    Fault(
        "fewer bytes than its shape",
        answers(lambda v: ("score", v.astype(np.float16), "FP32")),
        EndpointBadAnswer,
        "reshape",
    ),
    Fault("NaN", answers(lambda v: ("score", np.where(v < 0.3, np.float32(np.nan), v), "FP32")), None, "nan"),
]

CASES = [
    pytest.param(fault, place, id=f"{fault.name}-{over}") for fault in FAULTS for over, place in fault.places.items()
]


def model_at(url: str, options: dict[str, Any], waits: list[float]) -> Model:
    """Return an endpoint as a run opens it, but for waiting."""
    usual = {"retries": RETRIES, "shared_memory": "off", "timeout_s": 20, "backoff_s": 0.001}
    opened = open_backend(url, EndpointOptions.model_validate({**usual, **options}))
    assert isinstance(opened, GuardedBackend)
    with suppress(EndpointError):
        opened.inner.info()
    backend = GuardedBackend(opened.inner, sleep=waits.append, draw=lambda: 1.0)
    return Model(CARD.name, CARD, ModelInfo(card=None), backend, url)


@pytest.mark.parametrize(("fault", "place"), CASES)
def test_a_fault_has_its_error_its_message_and_its_retries(
    fault: Fault, place: Place, certificates: Certificates
) -> None:
    waits: list[float] = []
    with place(certificates) as (url, options):
        model = model_at(url, options, waits)
        records = ask(model, CHUNK)
        model.backend.close()
    failed = [record for record in records if record.error]
    assert {record.error for record in failed} == {fault.record}
    assert len(failed) == (2 if fault.error else 1)
    for record in failed:
        assert record.detail is not None
        assert url in record.detail
        assert fault.says in record.detail
        assert len(record.detail) < 800
    assert len(waits) == (RETRIES if fault.error and fault.error.retryable else 0)


@pytest.mark.parametrize(
    "fault",
    [
        *(faulty.status(code) for code in (307, 401, 429)),
        *(faulty.late, faulty.drip, faulty.reset, faulty.hang_up, faulty.cut, faulty.page, faulty.another_protocol),
    ],
)
def test_one_connection_recovers_from_any_of_them(fault: Callable[[Any], None]) -> None:
    with faulty.serving_http() as server:
        model = model_at(server.url, {**SHORT, "retries": 0}, [])
        patient = GuardedBackend(model.backend.inner)  # type: ignore[attr-defined]
        patient.options = model.backend.options.model_copy(update={"retries": 9})
        for _ in range(2):
            server.script.fault = fault
            assert all(record.error for record in ask(model, CHUNK))
            server.script.fault = None
            assert not any(record.error for record in ask(replace(model, backend=patient), CHUNK))
        model.backend.close()


@pytest.mark.parametrize(
    ("said", "wait"),
    [("7", 7.0), ("9999", LONGEST_WAIT_S), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.001), ("soon", 0.001), (None, 0.001)],
)
def test_a_server_says_when_to_ask_again(said: str | None, wait: float) -> None:
    waits: list[float] = []
    with faulty.serving_http() as server:
        server.script.fault = faulty.status(429, {"Retry-After": said} if said else {})
        model = model_at(server.url, {"retries": 1}, waits)
        assert ask(model, CHUNK)[0].error == "endpoint:unavailable"
        server.script.fault = faulty.hang_up
        ask(model, CHUNK)
        model.backend.close()
    assert waits == [wait, 0.001], "what an earlier answer said holds for that answer alone"


def test_a_date_says_when_to_ask_again() -> None:
    waits: list[float] = []
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=20)
    with faulty.serving_http() as server:
        server.script.fault = faulty.status(503, {"Retry-After": f"{until:%a, %d %b %Y %H:%M:%S} GMT"})
        model = model_at(server.url, {"retries": 1}, waits)
        ask(model, CHUNK)
        model.backend.close()
    assert 10 < waits[0] <= 20


@pytest.mark.parametrize("serving", [faulty.serving_http, faulty.serving_grpc])
def test_a_token_is_named_never_shown(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_TOKEN", "canary-7f3a\n")  # as files have it
    with serving() as server:
        server.script.token = "canary-7f3a"
        model = model_at(server.url, {"auth": {"bearer_env": "TOY_TOKEN"}}, [])
        assert not any(record.error for record in ask(model, CHUNK))
        server.script.token = "another"
        record = ask(model, CHUNK)[0]
        model.backend.close()
    assert record.detail is not None
    assert record.detail.endswith("Put a token that is valid into TOY_TOKEN and run the same command again.")
    assert "expired: Bearer ***" in record.detail


@pytest.mark.parametrize("token", ["canary 7f3a", "canary-7f3a\r\nX-Other: 1", "canary-7f3\u00e4"])
def test_a_token_that_can_not_be_sent_is_refused_unseen(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_TOKEN", token)
    for scheme in ("http", "grpc"):
        with pytest.raises(SuiteError, match="TOY_TOKEN") as caught:
            open_backend(
                f"{scheme}://127.0.0.1:1/m", EndpointOptions.model_validate({"auth": {"bearer_env": "TOY_TOKEN"}})
            )
        assert "canary" not in str(caught.value)


def test_a_file_of_tls_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    for scheme in ("https", "grpcs"):
        options = EndpointOptions.model_validate({"tls": {"ca": str(tmp_path / "none.pem")}})
        with pytest.raises(SuiteError, match=r"options\.tls\.ca .*none\.pem: expected a PEM file"):
            open_backend(f"{scheme}://127.0.0.1:1/m", options)


@pytest.mark.parametrize("place", [https("good"), grpcs("good")], ids=["http", "grpc"])
def test_a_certificate_of_a_given_ca_is_trusted(place: Place, certificates: Certificates) -> None:
    with place(certificates) as (url, options):
        model = model_at(url, options, [])
        assert not any(record.error for record in ask(model, CHUNK))
        model.backend.close()


# How runs end.

EACH = 6
UNDER_WAY = 2
"""Requests that may be on their way when a run gives up."""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Asked]:
    write_noise(tmp_path / "images", EACH, SIDE)

    def write(url: str, **options: Any) -> Asked:
        card = {"input": "image", "output": "score", "score": "probability", "preprocess": {"crop": SIDE}}
        usual = {"batch": 1, "concurrency": 1, "retries": 0, "backoff_s": 0.001, "shared_memory": "off"}
        said = {
            "name": "faults",
            "resamples": 100,
            "data": {"d": {"layout": "real_fake", "root": "images"}},
            "models": [{"name": "toy.bright", "endpoint": url, "options": {**usual, **options}, "card": card}],
            "tasks": [{"kind": "detection", "name": "t", "data": "d", "audit": False}],
            "report": {"mistakes": 0},
        }
        path = tmp_path / "faults.yaml"
        path.write_text(yaml.safe_dump(said), encoding="utf-8")
        return Asked(path, out=tmp_path / "out")

    return write


def some(script: Script, fault: Callable[[Any], None], strikes: Callable[[int], bool]) -> None:
    """Have a fault strike the requests whose number, from 1, it is told of."""

    def now(handler: Any) -> None:
        if strikes(script.seen):
            fault(handler)
        else:
            handler.answer(script)

    script.fault = now


def test_a_busy_server_is_waited_for_and_the_run_is_valid(suite: Callable[..., Asked]) -> None:
    with faulty.serving_http() as server:
        some(server.script, faulty.status(429, {"Retry-After": "0"}), lambda number: number % 2 == 1)
        finished = run(suite(server.url, retries=1), Silent())
        assert server.script.seen == 2 * 2 * EACH
    assert finished.reasons == ()


@pytest.mark.parametrize(
    ("fault", "says", "options"),
    [
        (faulty.late, "timeout_s", {"timeout_s": 0.5}),
        (faulty.reset, "harness serve", {}),
        (faulty.status(503), "503", {}),
    ],
    ids=["late", "reset", "503"],
)
def test_an_endpoint_that_stays_away_ends_the_run_which_goes_on_later(
    fault: Callable[[Any], None], says: str, options: dict[str, Any], suite: Callable[..., Asked]
) -> None:
    with faulty.serving_http() as server:
        asked = suite(server.url, **options)
        some(server.script, fault, lambda number: number > EACH)
        with pytest.raises(EndpointUnavailable, match=f"none for {GIVE_UP} requests in a row") as caught:
            run(asked, Silent())
        assert caught.value.exit_code == 3
        assert server.url in str(caught.value)
        assert says in str(caught.value)
        before = server.script.seen
        assert EACH + GIVE_UP <= before <= EACH + GIVE_UP + UNDER_WAY
        server.script.fault = None
        finished = run(suite(server.url), Silent())
        assert server.script.seen == before + EACH, "what was answered is not asked again"
    assert finished.reasons == ()
    assert len(list((asked.out / "runs").iterdir())) == 1


def test_a_token_that_expires_ends_the_run_and_is_written_nowhere(
    suite: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TOKEN", "canary-7f3a")
    with faulty.serving_http() as server:
        asked = suite(server.url, retries=4, auth={"bearer_env": "TOY_TOKEN"})
        some(server.script, lambda handler: handler.refuse(), lambda number: number > EACH)
        with pytest.raises(EndpointUnavailable, match="TOY_TOKEN") as caught:
            run(asked, Silent())
        assert server.script.seen <= EACH + GIVE_UP + UNDER_WAY, "nothing is tried again"
        server.script.fault = None
        finished = run(asked, Silent())
    assert finished.reasons == ()
    assert "canary" not in str(caught.value)
    for path in filter(Path.is_file, asked.out.rglob("*")):
        assert b"canary" not in (
            repr(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()
        )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda v: ("score", v * np.float32(np.nan), "FP32"), "answer:not_finite"),
        (lambda v: ("score", v.repeat(2, 0), "FP32"), "endpoint:bad_answer"),
        (lambda v: ("score", v.astype(np.int32), "INT32"), "endpoint:bad_answer"),
    ],
    ids=["nan", "shape", "type"],
)
def test_a_wrong_answer_costs_its_records_and_the_run_says_so(
    answer: Answer, reason: str, suite: Callable[..., Asked]
) -> None:
    with faulty.serving_http() as server:
        script = server.script
        script.answer = lambda scores: (answer if script.seen in (3, 4) else faulty.right)(scores)
        finished = run(suite(server.url), Silent())
        assert script.seen == 2 * EACH
    assert finished.reasons == (f"t: 2 of {2 * EACH} answers failed (2 {reason})",)
    assert finished.info.verdict == f"INVALID: {finished.reasons[0]}"


def tables() -> list[str]:
    """Return the lines of both tables, as docs/faults.md has them."""
    lines = ["| Fault | Over | Error | Its message has |", "|---|---|---|---|"]
    for fault in FAULTS:
        error = fault.error.__name__ if fault.error else "none: a record's failure"
        lines.append(f"| {fault.name} | {', '.join(fault.places)} | {error} | {fault.says} |")
    lines += [
        "",
        "| Error | In its records | Asked again at once | Asked again by the next run | Ends the run |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(fault.error for fault in FAULTS):
        record = f"endpoint:{kind.reason}" if kind else NOT_FINITE
        yes = [
            "yes" if said else "no" for said in (kind and kind.retryable, record.startswith(RETRIED), record in AWAY)
        ]
        lines.append(f"| {kind.__name__ if kind else 'none'} | `{record}` | {' | '.join(yes)} |")
    return lines


def test_the_document_has_the_tables_that_run_here() -> None:
    found = [line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert found == [line for line in tables() if line]


def test_every_error_of_an_endpoint_has_a_fault_that_shows_it() -> None:
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EndpointError)}
    assert {fault.error for fault in FAULTS} - {None} == kinds - {EndpointError}
