"""Small KServe v2 servers, HTTP and gRPC, that fail as they are told, in ways that a real one can't be asked for."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "toy"
SIDE = 4
RST = struct.pack("ii", 1, 0)
"""Of SO_LINGER: closing resets the connection."""

TENSORS = {
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}],
    "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
}

Answer = Callable[[NDArray[np.float32]], tuple[str, NDArray[Any], str]]
"""From right scores, (n, 1), to what is sent: the output's name, its values, and the type that is claimed."""


def right(scores: NDArray[np.float32]) -> tuple[str, NDArray[Any], str]:
    return "score", scores, "FP32"


def brightness(images: bytes) -> NDArray[np.float32]:
    pixels = np.frombuffer(images, np.uint8).reshape(-1, SIDE * SIDE * 3)
    means: NDArray[np.float32] = pixels.mean(axis=1, dtype=np.float32)
    return means[:, None] / np.float32(255)


class Script:
    """What a server does with requests for answers, and how many came.

    Attributes:
        fault: what happens in place of an answer, given a request; None: all is well.
        answer: what is answered where nothing else happens.
        token: what has to be shown; None: nothing.
        seen: requests for answers so far.
    """

    def __init__(self) -> None:
        self.fault: Callable[[Any], None] | None = None
        self.answer: Answer = right
        self.token: str | None = None
        self.seen = 0
        self.over = threading.Event()


class Faulty(ThreadingHTTPServer):
    """The HTTP server.

    Args:
        tls: makes it an HTTPS server.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = Script()
        self.scheme = "https" if tls else "http"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{MODEL}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients go away as they like."""


class Handler(BaseHTTPRequestHandler):
    """One connection to the HTTP server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Faulty

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        known: dict[str, dict[str, Any]] = {
            "/v2": {"name": "faulty", "version": "1", "extensions": ["binary_tensor_data"]},
            f"/v2/models/{MODEL}": {"name": MODEL, "versions": ["1"], "platform": "none", **TENSORS},
        }
        if not self.let_in():
            return
        if self.path in known:
            self.send(200, known[self.path])
        else:
            self.send(404, {"error": f"{self.path}: no such thing"})

    def do_POST(self) -> None:
        script = self.server.script
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.scores = brightness(body[int(self.headers["Inference-Header-Content-Length"]) :])
        script.seen += 1
        if not self.let_in():
            return
        if script.fault is not None:
            script.fault(self)
            return
        self.answer(script)

    def answer(self, script: Script) -> None:
        """Answer what was asked."""
        name, values, claimed = script.answer(self.scores)
        raw = values.tobytes()
        parameters = {"binary_data_size": len(raw)}
        output = {"name": name, "datatype": claimed, "shape": list(values.shape), "parameters": parameters}
        head = json.dumps({"model_name": MODEL, "model_version": "1", "outputs": [output]}).encode()
        self.send(200, head + raw, {"Inference-Header-Content-Length": str(len(head))})

    def let_in(self) -> bool:
        """Whether the token is right."""
        wanted, shown = self.server.script.token, self.headers["Authorization"]
        if wanted is None or shown == f"Bearer {wanted}":
            return True
        self.refuse()
        return False

    def refuse(self) -> None:
        """Refuse a token, and repeat it, as some servers do."""
        self.send(401, {"error": f"expired: {self.headers['Authorization']}"})

    def send(self, status: int, said: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> None:
        """Send a whole answer."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class FaultyGrpc(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The gRPC server's answers."""

    def __init__(self) -> None:
        self.script = Script()
        self.url = ""

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="faulty", version="1")

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return service_pb2.ModelMetadataResponse(name=MODEL, **TENSORS)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        script = self.script
        script.seen += 1
        shown = dict(context.invocation_metadata()).get("authorization")
        if script.token is not None and shown != f"Bearer {script.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"expired: {shown}")
        if script.fault is not None:
            script.fault(context)
        name, values, claimed = script.answer(brightness(request.raw_input_contents[0]))
        output = {"name": name, "datatype": claimed, "shape": list(values.shape)}
        return service_pb2.ModelInferResponse(
            model_name=MODEL, model_version="1", outputs=[output], raw_output_contents=[values.tobytes()]
        )


Served = Faulty | FaultyGrpc


@contextmanager
def serving_http(tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Run an HTTP server on a free port of loopback."""
    with Faulty(tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.script.over.set()
            server.shutdown()


@contextmanager
def serving_grpc(tls: tuple[bytes, bytes] | None = None) -> Iterator[FaultyGrpc]:
    """Run a gRPC server on a free port of loopback; ``tls`` is its private key and its certificates, PEM."""
    served, server = FaultyGrpc(), grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(served, server)
    if tls is None:
        port, scheme = server.add_insecure_port("127.0.0.1:0"), "grpc"
    else:
        port, scheme = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls])), "grpcs"
    served.url = f"{scheme}://127.0.0.1:{port}/{MODEL}"
    server.start()
    try:
        yield served
    finally:
        served.script.over.set()
        server.stop(0).wait()


@contextmanager
def half_open() -> Iterator[int]:
    """Yield a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def slamming() -> Iterator[int]:
    """Yield a port that takes connections and resets them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def slam() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                    connection.close()

        thread = threading.Thread(target=slam, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def status(code: int, headers: dict[str, str] | None = None, said: str = "not now") -> Callable[[Handler], None]:
    """Answer with a status."""
    return lambda handler: handler.send(code, {"error": said}, headers)


def page(handler: Handler) -> None:
    """Answer with a page for people."""
    handler.send(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})


def abort(code: grpc.StatusCode, said: str = "not now") -> Callable[[grpc.ServicerContext], None]:
    """Answer with a status of gRPC."""
    return lambda context: context.abort(code, said)


def late(handler: Handler) -> None:
    """Answer when nobody waits any more."""
    handler.server.script.over.wait(5)


def late_grpc(context: grpc.ServicerContext) -> None:
    """Answer when nobody waits any more."""
    while context.is_active():
        threading.Event().wait(0.01)


def drip(handler: Handler) -> None:
    """Answer a byte at a time, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not handler.server.script.over.wait(0.02):
        handler.wfile.write(b" ")


def reset(handler: Handler) -> None:
    """Reset the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def cut(handler: Handler) -> None:
    """Close the connection in the middle of an answer."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"outputs"')
    handler.close_connection = True


def another_protocol(handler: Handler) -> None:
    """Answer in the words of another protocol."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True
