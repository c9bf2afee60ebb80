"""Connections to KServe v2 servers by tritonclient: TLS, tokens, and what its defaults get wrong. Asks nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tritonclient.grpc as grpc_client
import tritonclient.http as http_client

from harness.backends.base import EndpointOptions, Tls
from harness.errors import SuiteError, problem

CHANNEL = (
    ("grpc.max_send_message_length", grpc_client.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", grpc_client.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
"""Settings of gRPC: by itself it waits for up to two minutes before it looks whether a server is back."""


VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")
"""Names of environment variables as everyone writes them."""


class HttpClient(http_client.InferenceServerClient):  # type: ignore[misc]
    """tritonclient's, which forgets the headers of a refusal, but for the one that says when to ask again."""

    retry_after: object = None
    """The last answer's header ``Retry-After``; None where it had none, or none came."""

    def _get(self, *words: Any, **more: Any) -> Any:
        return self._seen(super()._get, *words, **more)

    def _post(self, *words: Any, **more: Any) -> Any:
        return self._seen(super()._post, *words, **more)

    def _seen(self, send: Callable[..., Any], *words: Any, **more: Any) -> Any:
        self.retry_after = None
        response = send(*words, **more)
        self.retry_after = response.get("retry-after")
        return response


def connect_grpc(address: str, secure: bool, tls: Tls | None) -> grpc_client.InferenceServerClient:
    """Return a client that threads may share; it connects when it is first asked."""
    return grpc_client.InferenceServerClient(
        address,
        ssl=secure,
        root_certificates=tls.ca if tls else None,
        private_key=tls.key if tls else None,
        certificate_chain=tls.certificate if tls else None,
        channel_args=CHANNEL,
    )


def connect_http(address: str, secure: bool, options: EndpointOptions) -> HttpClient:
    """Return a client for one thread; it connects when it is first asked."""
    tls = options.tls
    files = {"ca_certs": tls.ca, "certfile": tls.certificate, "keyfile": tls.key} if tls else {}
    return HttpClient(
        address,
        ssl=secure,
        ssl_options={key: value for key, value in files.items() if value},
        connection_timeout=options.timeout_s,
        network_timeout=options.timeout_s,
    )


def read_token(options: EndpointOptions) -> str:
    """Return the token of an endpoint, empty where it wants none.

    Raises:
        SuiteError: there is none where the suite says, or it can't be sent; the message tells where it lies, alone.
    """
    if options.auth is None:
        return ""
    name = options.auth.bearer_env
    what = f"auth.bearer_env {name if VARIABLE.fullmatch(name) else '***'}"  # which may be a token in the wrong place
    token = os.environ.get(name, "").strip()
    if not token:
        raise SuiteError(problem(what, "the name of an environment variable with a token", "none", "Set it"))
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise SuiteError(problem(what, "a token of printable ASCII", "spaces or other letters", "Set it again"))
    return token


def check_files(endpoint: str, options: EndpointOptions) -> None:
    """Raise SuiteError where a file of TLS is not there."""
    for name, path in (options.tls.model_dump() if options.tls else {}).items():
        if path is not None and not Path(path).is_file():
            raise SuiteError(
                problem(f"{endpoint}: options.tls.{name} {path}", "a PEM file", "none", "Correct the path")
            )
