"""What a backend is: something that answers batches. Never decides, never retries (that is the policy's part)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness.card import Card
from harness.frozen import Frozen

Tensors = Mapping[str, NDArray[Any]]
"""Named arrays, batch first."""


Optimisation = Literal["all", "extended", "basic", "none"]
"""Levels of ONNX Runtime's graph optimisation."""

Provider = Literal["auto", "cpu", "cuda"]


class Auth(Frozen):
    """Where credentials come from; only ever the name of an environment variable."""

    bearer_env: str


class Tls(Frozen):
    """TLS of a remote endpoint; paths of PEM files."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class EndpointOptions(Frozen):
    """How an endpoint is used.

    Attributes:
        batch: images per request.
        timeout_s: limit of one request.
        retries: further tries after a retryable failure.
        backoff_s: wait before the first retry; doubles, with jitter.
        concurrency: most requests in flight at each address; adapts below it when the server pushes back.
        shared_memory: ``auto`` uses system shared memory where the server is on this host and takes it.
        threads: intra-op threads of an in-process session; 0 lets the harness choose.
        optimisation: of the graph in an in-process session.
        provider: of an in-process session; ``auto`` is CUDA where there is a device.
        metrics: address of the server's metrics, ``http://HOST:8002/metrics`` of Triton, which tell a load its memory.
    """

    batch: PositiveInt = 8
    timeout_s: PositiveFloat = 60.0
    retries: NonNegativeInt = 4
    backoff_s: PositiveFloat = 0.25
    concurrency: PositiveInt = 2
    shared_memory: Literal["auto", "off"] = "auto"
    threads: NonNegativeInt = 0
    optimisation: Optimisation = "all"
    provider: Provider = "auto"
    metrics: str | None = Field(default=None, pattern=r"^https?://")
    auth: Auth | None = None
    tls: Tls | None = None


class ModelInfo(Frozen):
    """What an endpoint says of itself.

    Attributes:
        card: its card, where it carries one.
        weights_sha256: digest of the weights, empty where unknown.
        platform: server and version, or ``onnxruntime 1.x``.
        inputs, outputs: tensor name -> (KServe dtype, shape with -1 for free dimensions).
        max_batch: most images a request, as Triton's configuration says; None where nothing does.
    """

    card: Card | None
    weights_sha256: str = ""
    platform: str = ""
    inputs: dict[str, tuple[str, tuple[int, ...]]] = Field(default_factory=dict)
    outputs: dict[str, tuple[str, tuple[int, ...]]] = Field(default_factory=dict)
    max_batch: int | None = None


class Backend(Protocol):
    """One model at one endpoint. ``infer`` may be called from several threads at once."""

    endpoint: str
    options: EndpointOptions

    def info(self) -> ModelInfo:
        """Return what the endpoint says of itself; raises EndpointError."""
        ...

    def infer(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Answer one batch; every output, by name. Raises EndpointError."""
        ...

    def close(self) -> None:
        """Release connections, shared memory and sessions; may be called twice."""
        ...
