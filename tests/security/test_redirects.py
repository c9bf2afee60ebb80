"""An endpoint can't send the harness elsewhere: redirects are refused, and nothing, no token above all, goes there."""

from collections.abc import Callable

import numpy as np
import pytest

from harness.backends.base import Auth, EndpointOptions
from harness.backends.opening import list_models, open_backend
from harness.errors import EndpointRefused
from tests.security.loopback import Answer, Request, model, serving

TOKEN = "c4n4ry-0b9d"
OPTIONS = EndpointOptions(retries=2, backoff_s=0.01, timeout_s=5, auth=Auth(bearer_env="CANARY"))
IMAGES = {"image": np.zeros((1, 16, 16, 3), np.uint8)}

Redirect = Callable[[Request], Answer]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", TOKEN)


def redirecting(target: str, status: int, only: str = "") -> Redirect:
    """Return a server's answer that sends requests, or those of one method, to the same path elsewhere."""

    def answer(request: Request) -> Answer:
        if only and request.method != only:
            return model(request)
        return Answer(status, "", {"location": f"http://{target}{request.path}"})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_is_never_asked(status: int) -> None:
    with serving(model) as elsewhere, serving(redirecting(elsewhere.address, status)) as server:
        backend = open_backend(f"http://{server.address}/m", OPTIONS)
        for ask in (backend.info, lambda: backend.infer(IMAGES)):
            with pytest.raises(EndpointRefused, match=rf"got a redirect \({status}\).*are not followed"):
                ask()
        with pytest.raises(EndpointRefused, match="redirect"):
            list_models(f"http://{server.address}", OPTIONS)
        backend.close()
        assert elsewhere.asked == []
        assert len(server.asked) == 3, "a refusal is final"
        assert {request.headers["authorization"] for request in server.asked} == {f"Bearer {TOKEN}"}


def test_images_are_not_sent_on_either() -> None:
    with serving(model) as elsewhere, serving(redirecting(elsewhere.address, 307, only="POST")) as server:
        backend = open_backend(f"http://{server.address}/m", OPTIONS)
        assert backend.info().platform == "loopback 1"
        with pytest.raises(EndpointRefused, match=r"got a redirect \(307\)"):
            backend.infer(IMAGES)
        backend.close()
        assert elsewhere.asked == []


def test_without_a_redirect_the_same_server_answers() -> None:
    with serving(model) as server:
        backend = open_backend(f"http://{server.address}/m", OPTIONS)
        np.testing.assert_allclose(backend.infer(IMAGES)["score"], [[0.75]])
        backend.close()
