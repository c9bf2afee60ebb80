"""A token stands in the environment alone: in no file, message or traceback, whatever servers and users do with it."""

import json
import traceback
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from harness.backends.base import Auth, EndpointOptions
from harness.backends.opening import open_backend
from harness.errors import EndpointError, HarnessError, SuiteError
from harness.spec.load import load_suite
from tests.security.hostile import harness
from tests.security.loopback import Answer, Request, model, serving

TOKEN, OTHER = "c4n4ry-7f3a91", "0th3r-c4n4ry-55d1"
CARD = {"preprocess": {"crop": 16}, "input": "image", "output": "score", "score": "probability"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", TOKEN)
    monkeypatch.setenv("UNRELATED_SECRET", OTHER)


def images(folder: Path, side: int = 16) -> None:
    draw = np.random.default_rng(0)
    for kind in ("real", "fake"):
        (folder / "gan" / kind).mkdir(parents=True)
        for number in range(4):
            pixels = draw.integers(0, 255, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "gan" / kind / f"{number}.png")


def write_suite(folder: Path, *models: object, **more: object) -> Path:
    images(folder / "images", 64)
    said = {
        "name": "secret",
        "data": {"d": {"layout": "real_fake", "root": "images"}},
        "models": list(models),
        "tasks": [{"kind": "detection", "data": "d", "threshold": {"fixed": 0.5}}],
        "resamples": 100,
        "max_failures": 1.0,
        **more,
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


def remote(address: str) -> dict[str, object]:
    options = {"retries": 0, "timeout_s": 5, "batch": 1, "auth": {"bearer_env": "CANARY"}}
    return {"name": "acme.remote", "endpoint": address, "options": options, "card": CARD}


def everything(folder: Path) -> dict[str, str]:
    """Return all that a folder says: the bytes of every file, and what Parquet files hold compressed."""
    said = {}
    for path in folder.rglob("*"):
        if path.is_file():
            said[str(path)] = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                said[str(path)] += f"{pq.read_schema(path).metadata} {pq.read_table(path).to_pylist()}"
    return said


def assert_silent(*said: str) -> None:
    for text in said:
        assert TOKEN not in text
        assert OTHER not in text


def echoing(request: Request) -> Answer:
    """Answer, but every other time by what some servers do: show the request, and with it the token, in an error."""
    if request.path.endswith("/infer") and request.body and sum(request.body) % 2:
        return Answer(400, {"error": f"can't read this: {request.headers}"})
    return model(request)


def test_a_run_against_a_server_that_sends_the_token_back(tmp_path: Path) -> None:
    with serving(echoing) as server:
        ended = harness("run", write_suite(tmp_path, remote(f"http://{server.address}/m")), "--out", tmp_path / "out")
        assert ended.exit_code == 0, ended.output
        assert {request.headers.get("authorization") for request in server.asked} == {f"Bearer {TOKEN}"}
    site = harness("report", "--out", tmp_path / "out")
    written = everything(tmp_path)
    assert any("Bearer ***" in text for name, text in written.items() if name.endswith(".parquet")), "it was sent back"
    assert any(name.endswith("site/index.html") for name in written)
    assert_silent(*written.values(), ended.output, site.output)


@pytest.mark.triton
def test_a_run_against_a_real_server(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("pytriton", reason="the extra `serve` is not installed")
    served = {"name": "cnnspot.mini_gan", "options": {"auth": {"bearer_env": "CANARY"}}}
    suite = write_suite(tmp_path, served, repository=str(repository))
    ended = harness("run", suite, "--out", tmp_path / "out", "--serve", "triton")
    assert ended.exit_code == 0, ended.output
    written = everything(tmp_path)
    assert any(name.endswith("triton.log") for name in written)
    assert_silent(*written.values(), ended.output)


@pytest.mark.parametrize("scheme", ["grpc", "grpcs", "http", "https"])
def test_nobody_there(tmp_path: Path, scheme: str) -> None:
    suite = write_suite(tmp_path, remote(f"{scheme}://127.0.0.1:1/m"))
    ended = harness("run", suite, "--out", tmp_path / "out")
    assert isinstance(ended.exception, EndpointError)
    assert_silent(*everything(tmp_path).values(), ended.output, *traceback.format_exception(ended.exception))


SENT_BACK = {
    "an error": lambda request: Answer(400, {"error": f"you sent {request.headers}"}),
    "its name": lambda request: Answer(200, {"name": request.headers["authorization"], "outputs": []}),
    "no JSON": lambda request: Answer(500, f"<h1>{request.headers['authorization']}</h1>"),
    "denied": lambda request: Answer(401, {"error": f"expired: {request.headers['authorization']}"}),
    "JSON of another kind": lambda request: Answer(200, {"error": request.headers["authorization"]}),
    "no JSON, and fine": lambda request: Answer(200, request.headers["authorization"]),
    "a redirect to it": lambda request: Answer(302, "", {"location": f"/{request.headers['authorization']}"}),
}


@pytest.mark.parametrize("way", SENT_BACK)
def test_no_traceback_has_what_a_server_sends_back(way: str) -> None:
    options = EndpointOptions(retries=0, timeout_s=5, auth=Auth(bearer_env="CANARY"))
    with serving(SENT_BACK[way]) as server:
        backend = open_backend(f"http://{server.address}/m", options)
        for ask in (backend.info, lambda: backend.infer({"image": np.zeros((1, 4), np.float32)})):
            try:
                assert_silent(repr(ask()))
            except HarnessError as error:
                assert_silent(*traceback.format_exception(error))
        backend.close()
        assert server.asked


@pytest.mark.parametrize("odd", [f"{TOKEN}\r\nx: y", f"{TOKEN} {TOKEN}", f"{TOKEN}é", f"{TOKEN}\x7f"])
def test_a_token_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("CANARY", odd)
    with pytest.raises(SuiteError, match=r"auth\.bearer_env CANARY: expected a token of printable ASCII") as caught:
        open_backend("http://127.0.0.1:1/m", EndpointOptions(auth=Auth(bearer_env="CANARY")))
    assert_silent(*traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "address",
    [f"https://me:{TOKEN}@h:1/m", f"htps://{TOKEN}@h:1/m", f"https://h:1/m?key={TOKEN}", f"http://h/m#{TOKEN}"],
)
def test_a_token_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(SuiteError) as caught:
        open_backend(address, EndpointOptions())
    assert_silent(str(caught.value))


def test_a_token_in_place_of_its_variable_is_not_shown() -> None:
    with pytest.raises(SuiteError, match=r"auth\.bearer_env \*\*\*: expected the name of an environment var") as caught:
        open_backend("http://127.0.0.1:1/m", EndpointOptions(auth=Auth(bearer_env=TOKEN)))
    assert_silent(str(caught.value))


def test_variables_that_a_suite_names_are_written_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "a shelf")
    script = {"card": {"name": "toy.one", "score": "probability", "preprocess": {"crop": 16}}}
    told = {"name": "toy.one", "endpoint": f"scripted:{json.dumps(script)}"}
    ended = harness("run", write_suite(tmp_path, told, description="on ${WHERE}"), "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    (run,) = (tmp_path / "out" / "runs").iterdir()
    info = json.loads((run / "run.json").read_text())
    assert info["spec"]["description"] == "on a shelf", "what a suite says is no secret"
    assert not {"WHERE", "CANARY", "PATH", "HOME"} & info["environment"].keys()
    assert_silent(*everything(tmp_path).values(), ended.output)


def test_complaints_of_a_suite_keep_the_name_of_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text('name: x\nmodels: [{name: a.b, options: {auth: {token: "${CANARY}"}}}]\ntasks: []\n')
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert "auth.token: expected a known key, got 'token'" in str(caught.value)
    assert_silent(str(caught.value))
