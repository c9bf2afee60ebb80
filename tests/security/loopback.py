"""HTTP servers on loopback that answer as a test says and remember what they were asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it answers: a status, headers, and a body that is JSON where it is no text."""

    status: int = 200
    body: object = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    address: str
    asked: list[Request]


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[Server]:
    """Serve on a free port until the block ends."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            asked.append(request)
            said = answer(request)
            content = (said.body if isinstance(said.body, str) else json.dumps(said.body)).encode()
            self.send_response(said.status)
            for name, value in ({"content-length": str(len(content))} | said.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield Server(f"127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()


def model(request: Request) -> Answer:
    """Answer as a KServe v2 server does that holds one detector, ``m``: one score of 0.75 for each image."""
    if request.path == "/v2":
        return Answer(body={"name": "loopback", "version": "1", "extensions": []})
    if request.path == "/v2/models/m":
        tensors = {"name": "score", "datatype": "FP32", "shape": [-1, 1]}
        image = {"name": "image", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}
        return Answer(body={"name": "m", "versions": ["1"], "platform": "x", "inputs": [image], "outputs": [tensors]})
    if request.path == "/v2/models/m/infer":
        images = json.loads(request.body)["inputs"][0]["shape"][0]
        score = {"name": "score", "datatype": "FP32", "shape": [images, 1], "data": [0.75] * images}
        return Answer(body={"model_name": "m", "outputs": [score]})
    return Answer(404, {"error": "unknown"})
