import threading
from typing import Any

import numpy as np
import pytest

from harness.backends.base import EndpointOptions
from harness.backends.opening import open_backend
from harness.backends.policy import LONGEST_WAIT_S, GuardedBackend, Limiter
from harness.backends.scripted import Fault, Script, ScriptedBackend
from harness.card import Card
from harness.errors import EndpointRefused, EndpointTimeout, EndpointUnavailable, SuiteError
from harness.images import Preprocess

CARD = Card(name="toy.bright", preprocess=Preprocess(crop=4), score="probability")
IMAGES = np.full((2, 4, 4, 3), 51, np.uint8)


def guarded(waits: list[float], draw: float = 1.0, retries: int = 4, **script: Any) -> GuardedBackend:
    options = EndpointOptions(retries=retries, backoff_s=0.5, concurrency=4)
    inner = ScriptedBackend("scripted:x", Script(card=CARD, **script), options)
    return GuardedBackend(inner, sleep=waits.append, draw=lambda: draw)


def test_a_passing_failure_is_tried_again_with_backoff() -> None:
    waits: list[float] = []
    backend = guarded(waits, faults=(Fault(kind="unavailable", times=3),))
    np.testing.assert_allclose(backend.infer({"image": IMAGES})["score"], 0.2)
    assert waits == [0.5, 1.0, 2.0]


def test_jitter_shortens_the_wait() -> None:
    waits: list[float] = []
    guarded(waits, draw=0.25, faults=(Fault(kind="timeout", times=1),)).infer({"image": IMAGES})
    assert waits == [0.125]


def test_it_gives_up_after_the_retries() -> None:
    waits: list[float] = []
    with pytest.raises(EndpointTimeout):
        guarded(waits, retries=2, faults=(Fault(kind="timeout"),)).infer({"image": IMAGES})
    assert len(waits) == 2


def test_a_refusal_is_final() -> None:
    waits: list[float] = []
    with pytest.raises(EndpointRefused):
        guarded(waits, faults=(Fault(kind="refused", times=1),)).infer({"image": IMAGES})
    assert waits == []


def test_the_server_may_ask_for_a_longer_wait() -> None:
    waits: list[float] = []
    backend = guarded(waits)
    failures = [EndpointUnavailable("x", retry_after_s=7), EndpointUnavailable("x", retry_after_s=9999)]
    answer = backend.inner.infer

    def infer(inputs: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return answer(inputs)

    backend.inner.infer = infer  # type: ignore[method-assign]
    backend.infer({"image": IMAGES})
    assert waits == [7, LONGEST_WAIT_S]


def test_the_limit_halves_grows_and_never_ends() -> None:
    limiter = Limiter(8)
    for wanted in (4, 2, 1, 1):
        with pytest.raises(EndpointUnavailable), limiter:
            raise EndpointUnavailable("x")
        assert limiter.limit == wanted
    with limiter:
        pass
    assert limiter.limit == 2
    for _ in range(60):
        with limiter:
            pass
    assert limiter.limit == 8


def test_no_more_requests_fly_than_the_limit_allows() -> None:
    limiter, flying, most = Limiter(3), 0, 0
    lock, start = threading.Lock(), threading.Barrier(12)

    def ask() -> None:
        nonlocal flying, most
        start.wait()
        for _ in range(20):
            with limiter:
                with lock:
                    flying += 1
                    most = max(most, flying)
                with lock:
                    flying -= 1

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 3


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("grcp://h:1/m", "Did you mean 'grpc'"),
        ("grpc://h/m", "HOST:PORT/MODEL"),
        ("http://user:secret@h:1/m", "options.auth"),
        ("grpc://h:1/../m", "HOST:PORT/MODEL"),
        ("grpc:h:1/m", "HOST:PORT/MODEL"),
        ("scripted:/nowhere.yaml", "a script"),
        ('scripted:{"card": 1}', "a script"),
    ],
)
def test_addresses_that_are_none(endpoint: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        open_backend(endpoint, EndpointOptions())


def test_a_secret_in_an_address_is_not_repeated() -> None:
    with pytest.raises(SuiteError) as caught:
        open_backend("http://user:hunter2@h:1/m", EndpointOptions())
    assert "hunter2" not in str(caught.value)


def test_a_missing_token_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_TOKEN_HERE", raising=False)
    options = EndpointOptions.model_validate({"auth": {"bearer_env": "NO_TOKEN_HERE"}})
    with pytest.raises(SuiteError, match="NO_TOKEN_HERE"):
        open_backend("grpc://127.0.0.1:1/m", options)
