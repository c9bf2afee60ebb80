"""Answers from a KServe v2 server over gRPC or HTTP, by way of tritonclient. Classifies failures; never retries."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from numpy.typing import NDArray
from pydantic import ValidationError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from harness.backends.base import EndpointOptions, ModelInfo, Tensors
from harness.backends.shared_memory import Regions
from harness.card import CARD_KEY, WEIGHTS_KEY, Card
from harness.errors import (
    CardError,
    EndpointBadAnswer,
    EndpointError,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    SuiteError,
    problem,
)

AWAY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "429", "502", "503", "504")
LATE = ("DEADLINE_EXCEEDED", "499")
START = "Start it (harness serve), or correct the address"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class TritonBackend:
    """One model on a server.

    Args:
        endpoint: as the suite writes it.
        scheme: ``grpc``, ``grpcs``, ``http`` or ``https``.
        address: ``host:port``.
        model, version: what is asked there; the newest version where empty.
        options: time limit, authentication, TLS, shared memory.
    """

    def __init__(
        self, endpoint: str, scheme: str, address: str, model: str, version: str, options: EndpointOptions
    ) -> None:
        self.endpoint, self.options = endpoint, options
        self._grpc, self._secure = scheme.startswith("grpc"), scheme.endswith("s")
        self._address, self._model, self._version = address, model, version
        self._headers = _headers(options)
        self._own = threading.local()
        self._shared: Any = None
        near = address.rpartition(":")[0] in LOOPBACK
        self._regions = Regions(self._client) if options.shared_memory == "auto" and near else None

    def info(self) -> ModelInfo:
        """Return what the server says of the model; raises EndpointError, or CardError on a card that can't be read."""
        client, options = self._client(), self._limit()
        try:
            if self._grpc:
                server = client.get_server_metadata(headers=self._headers, as_json=True, **options)
                said = client.get_model_metadata(self._model, self._version, self._headers, as_json=True, **options)
                config = client.get_model_config(self._model, self._version, self._headers, as_json=True, **options)
                config = config.get("config", config)
            else:
                server = client.get_server_metadata(headers=self._headers)
                said = client.get_model_metadata(self._model, self._version, headers=self._headers)
                config = client.get_model_config(self._model, self._version, headers=self._headers)
        except Exception as error:
            raise self._classified(error) from error
        parameters = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
        text = parameters.get(CARD_KEY)
        try:
            card = Card.model_validate_json(text) if text else None
        except ValidationError as error:
            raise CardError(
                problem(f"card of {self.endpoint}", "a valid card", str(error), "Export it again")
            ) from error
        return ModelInfo(
            card=card,
            weights_sha256=parameters.get(WEIGHTS_KEY, ""),
            platform=f"{server.get('name', 'server')} {server.get('version', '')}".strip(),
            inputs=_tensors(said.get("inputs", ())),
            outputs=_tensors(said.get("outputs", ())),
        )

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch; raises a classified EndpointError."""
        module = grpc_client if self._grpc else http_client
        slots = []
        try:
            asked = []
            for name, value in inputs.items():
                item = module.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
                slot = self._regions.take(value) if self._regions is not None else None
                if slot is not None:
                    slots.append(slot)
                    item.set_shared_memory(slot.name, value.nbytes)
                else:
                    item.set_data_from_numpy(np.ascontiguousarray(value))
                asked.append(item)
            limit = {"client_timeout": self.options.timeout_s} if self._grpc else {}
            result = self._client().infer(
                self._model, asked, model_version=self._version, headers=self._headers, **limit
            )
            response = result.get_response(as_json=True) if self._grpc else result.get_response()
            answers = {item["name"]: result.as_numpy(item["name"]) for item in response["outputs"]}
        except Exception as error:
            raise self._classified(error) from error
        finally:
            for slot in slots:
                slot.give_back()
        batch = len(next(iter(inputs.values())))
        for name, value in answers.items():
            if value is None or (value.ndim and len(value) != batch):
                got = "nothing" if value is None else str(value.shape)
                raise EndpointBadAnswer(problem(f"{self.endpoint}: {name}", f"{batch} rows", got, "Check the server"))
        return answers

    def close(self) -> None:
        """Unregister shared memory and close the connections."""
        if self._regions is not None:
            self._regions.close()
            self._regions = None
        client = self._shared or getattr(self._own, "client", None)
        self._shared = None
        self._own = threading.local()
        if client is not None:
            client.close()

    def _client(self) -> Any:
        """Return the gRPC client, which threads share, or this thread's own HTTP client."""
        if self._grpc:
            if self._shared is None:
                self._shared = self._connect()
            return self._shared
        if not hasattr(self._own, "client"):
            self._own.client = self._connect()
        return self._own.client

    def _connect(self) -> Any:
        tls = self.options.tls
        if self._grpc:
            return grpc_client.InferenceServerClient(
                self._address,
                ssl=self._secure,
                root_certificates=tls.ca if tls else None,
                private_key=tls.key if tls else None,
                certificate_chain=tls.certificate if tls else None,
            )
        files = {"ca_certs": tls.ca, "certfile": tls.certificate, "keyfile": tls.key} if tls else {}
        return http_client.InferenceServerClient(
            self._address,
            ssl=self._secure,
            ssl_options={key: value for key, value in files.items() if value},
            connection_timeout=self.options.timeout_s,
            network_timeout=self.options.timeout_s,
        )

    def _limit(self) -> Mapping[str, float]:
        return {"client_timeout": self.options.timeout_s}

    def _classified(self, error: Exception) -> EndpointError:
        """Return the error as one of ours; its text never carries headers, so no token leaves with it."""
        if isinstance(error, EndpointError):
            return error
        if isinstance(error, InferenceServerException):
            status, said = str(error.status() or ""), str(error.message() or "")
            if any(word in status for word in LATE) or "Deadline" in said:
                return self._late()
            if any(word in status for word in AWAY) or "failed to connect" in said:
                return EndpointUnavailable(problem(self.endpoint, "an answer", said or status, START))
            return EndpointRefused(
                problem(self.endpoint, f"model {self._model} to take the request", said, "Check name and shapes")
            )
        if isinstance(error, TimeoutError) or "timed out" in str(error):
            return self._late()
        if isinstance(error, OSError | ConnectionError) or "closed" in str(error):
            return EndpointUnavailable(
                problem(self.endpoint, "a connection", str(error) or type(error).__name__, START)
            )
        return EndpointBadAnswer(
            problem(self.endpoint, "a KServe v2 answer", f"{type(error).__name__}: {error}", "Check the server")
        )

    def _late(self) -> EndpointTimeout:
        got = f"none within {self.options.timeout_s:g} s"
        return EndpointTimeout(
            problem(self.endpoint, "an answer", got, "Raise options.timeout_s, or lower options.batch")
        )


def _headers(options: EndpointOptions) -> dict[str, str]:
    if options.auth is None:
        return {}
    token = os.environ.get(options.auth.bearer_env)
    if not token:
        name = options.auth.bearer_env
        raise SuiteError(problem(f"auth.bearer_env {name}", "a token in that environment variable", "none", "Set it"))
    return {"authorization": f"Bearer {token}"}


def _tensors(items: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {item["name"]: (item["datatype"], tuple(int(dim) for dim in item.get("shape", ()))) for item in items}
