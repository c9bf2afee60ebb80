"""Answers from a KServe v2 server over gRPC or HTTP, by way of tritonclient. Classifies failures; never retries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import gevent
import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from numpy.typing import NDArray
from pydantic import ValidationError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from harness.backends.base import EndpointOptions, ModelInfo, Tensors
from harness.backends.connections import check_files, connect_grpc, connect_http, read_token
from harness.backends.failures import LOST_REGION, Failures, retry_after
from harness.backends.shared_memory import Regions, Slot
from harness.card import CARD_KEY, WEIGHTS_KEY, Card
from harness.errors import CardError, EndpointBadAnswer, EndpointError, problem

BINARY = "binary_tensor_data"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Cancel = Callable[[], object]
"""Gives up a request that was sent; what it returns means nothing."""


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
        self._address, self.model, self._version = address, model, version
        check_files(endpoint, options)
        token = read_token(options)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._failures = Failures(endpoint, model, options, token)
        self._declared: Mapping[str, str] = {}
        self._own = threading.local()
        self._shared: Any = None
        self._binary: bool | None = None
        near = address.rpartition(":")[0] in LOOPBACK
        self._regions = (
            Regions(self._client, self._limit() if self._grpc else {})
            if options.shared_memory == "auto" and near
            else None
        )

    def info(self) -> ModelInfo:
        """Return what the server says of the model; raises EndpointError, or CardError on a card that can't be read."""
        options = self._limit()
        with self._exchange() as client:
            if self._grpc:
                server = client.get_server_metadata(headers=self._headers, as_json=True, **options)
                said = client.get_model_metadata(self.model, self._version, self._headers, as_json=True, **options)
            else:
                server = client.get_server_metadata(headers=self._headers)
                said = client.get_model_metadata(self.model, self._version, headers=self._headers)
            inputs, outputs = _tensors(said.get("inputs", ())), _tensors(said.get("outputs", ()))
        self._declared = {name: dtype for name, (dtype, _) in outputs.items()}
        config = self._config()
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
            platform=self._failures.brief(f"{server.get('name', 'server')} {server.get('version', '')}"),
            inputs=inputs,
            outputs=outputs,
            max_batch=int(config["max_batch_size"]) if config.get("max_batch_size") else None,
        )

    def models(self) -> tuple[str, ...]:
        """Return the names in the server's repository index, sorted; raises EndpointRefused where it has none."""
        with self._exchange() as client:
            if self._grpc:
                index = client.get_model_repository_index(headers=self._headers, as_json=True, **self._limit())
                index = index.get("models", ())
            else:
                index = client.get_model_repository_index(headers=self._headers)
            return tuple(sorted({item["name"] for item in index}))

    def _config(self) -> dict[str, Any]:
        """Return Triton's configuration of the model; nothing of a server that knows no such thing."""
        try:
            with self._exchange() as client:
                if self._grpc:
                    said = client.get_model_config(
                        self.model, self._version, self._headers, as_json=True, **self._limit()
                    )
                    return dict(said.get("config", said))
                return dict(client.get_model_config(self.model, self._version, headers=self._headers))
        except EndpointError as error:
            if error.retryable:
                raise
            return {}

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch; raises a classified EndpointError."""
        slots: list[Slot] = []
        try:
            with self._exchange() as client:
                asked = self._laid_out(inputs, slots)
                limit = self._limit() if self._grpc else {}
                headers = dict(self._headers)  # tritonclient adds the request's own to it
                result = client.infer(self.model, asked, model_version=self._version, headers=headers, **limit)
                return self._answers(result, inputs)
        except EndpointError as error:
            _lose(slots, error)
            raise
        finally:
            for slot in slots:
                slot.give_back()

    def begin(self, inputs: Tensors, done: Callable[[dict[str, NDArray[Any]] | EndpointError], None]) -> Cancel:
        """Send one batch over gRPC and return at once; tritonclient's HTTP client knows no such thing.

        Args:
            inputs: the batch.
            done: gets the answer, or why there is none, in another thread.

        Returns:
            What cancels the request.
        """
        slots: list[Slot] = []

        def came(result: Any, error: Exception | None) -> None:
            for slot in slots:
                slot.give_back()
            try:
                answer = self._classified(error) if error is not None else self._answers(result, inputs)
            except Exception as bad:
                answer = self._classified(bad)
            if isinstance(answer, EndpointError):
                _lose(slots, answer)
            done(answer)

        try:
            asked = self._laid_out(inputs, slots)
            context = self._client().async_infer(
                self.model, asked, came, model_version=self._version, headers=self._headers, **self._limit()
            )
        except Exception as error:
            came(None, error)
            return lambda: None
        cancel: Cancel = context.cancel
        return cancel

    def _laid_out(self, inputs: Tensors, slots: list[Slot]) -> list[Any]:
        """Return a request's inputs; regions of shared memory that they lie in are added to ``slots``."""
        module = grpc_client if self._grpc else http_client
        asked = []
        for name, value in inputs.items():
            item = module.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
            slot = self._regions.take(value) if self._regions is not None else None
            if slot is not None:
                slots.append(slot)
                item.set_shared_memory(slot.name, value.nbytes)
            else:
                way = {} if self._grpc else {"binary_data": self._takes_binary()}
                item.set_data_from_numpy(np.ascontiguousarray(value), **way)
            asked.append(item)
        return asked

    def _takes_binary(self) -> bool:
        """Whether tensors may travel as bytes over HTTP: an extension that a server has to name; JSON is for all."""
        if self._binary is None:
            said = self._client().get_server_metadata(headers=self._headers)
            self._binary = BINARY in said.get("extensions", ())
        return self._binary

    def _answers(self, result: Any, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return every output of an answer by name; raises EndpointBadAnswer where one has not a row an image."""
        response = result.get_response()
        names = (
            [item.name for item in response.outputs] if self._grpc else [item["name"] for item in response["outputs"]]
        )
        answers = {name: result.as_numpy(name) for name in names}
        batch = len(next(iter(inputs.values())))
        for name, value in answers.items():
            if value is None or (value.ndim and len(value) != batch):
                got = "nothing" if value is None else str(value.shape)
                raise EndpointBadAnswer(problem(f"{self.endpoint}: {name}", f"{batch} rows", got, "Check the server"))
            dtype = np_to_triton_dtype(value.dtype)
            if dtype != self._declared.get(name, dtype) and self._declared[name] != "BF16":  # which comes as FP32
                what, wanted = f"{self.endpoint}: {name}", f"{self._declared[name]} as it says of itself"
                raise EndpointBadAnswer(problem(what, wanted, str(dtype), "Check the server"))
        return answers

    def statistics(self) -> dict[str, tuple[int, int]] | None:
        """Return Triton's counters of the model: times and nanoseconds of each stage; None of a server without them."""
        client = self._client()
        try:
            if self._grpc:
                said = client.get_inference_statistics(
                    self.model, self._version, headers=self._headers, as_json=True, **self._limit()
                )
            else:
                said = client.get_inference_statistics(self.model, self._version, headers=self._headers)
            stages = said["model_stats"][-1]["inference_stats"]
            return {name: (int(item.get("count", 0)), int(item.get("ns", 0))) for name, item in stages.items()}
        except (InferenceServerException, OSError, LookupError):
            return None

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
                self._shared = connect_grpc(self._address, self._secure, self.options.tls)
            return self._shared
        if not hasattr(self._own, "client"):
            self._own.client = connect_http(self._address, self._secure, self.options)
        return self._own.client

    def _limit(self) -> Mapping[str, float]:
        return {"client_timeout": self.options.timeout_s}

    @contextmanager
    def _exchange(self) -> Iterator[Any]:
        """Lend the client for one exchange within the time limit; what goes wrong in it leaves as an EndpointError."""
        try:
            client = self._client()
            if self._grpc:
                yield client
            else:  # an answer that comes byte by byte meets no limit of a socket
                with gevent.Timeout(self.options.timeout_s, TimeoutError("timed out")):
                    yield client
        except Exception as error:
            raise self._classified(error) from self._failures.cause(error)

    def _classified(self, error: Exception) -> EndpointError:
        client = getattr(self._own, "client", None)
        asked = retry_after(client.retry_after, datetime.now(UTC)) if client is not None else None
        return self._failures.classify(error, asked)


def _lose(slots: Sequence[Slot], error: EndpointError) -> None:
    """Give up regions that the server knows no more."""
    if LOST_REGION in str(error):
        for slot in slots:
            slot.lose()


def _tensors(items: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {item["name"]: (item["datatype"], tuple(int(dim) for dim in item.get("shape", ()))) for item in items}
