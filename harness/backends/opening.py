"""From an address to an open backend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backends.base import Backend, EndpointOptions
from harness.backends.fleet import Addresses, FleetBackend
from harness.backends.ort import OrtBackend
from harness.backends.policy import GuardedBackend
from harness.backends.scripted import ScriptedBackend, read_script
from harness.errors import SuiteError, problem
from harness.names import did_you_mean

if TYPE_CHECKING:
    from harness.backends.triton import TritonBackend

LOCAL = ("onnx", "scripted")
SCHEMES = (*LOCAL, "grpc", "grpcs", "http", "https")

REMOTE = re.compile(
    r"(?P<address>(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.\-]+):[0-9]{1,5})"
    r"(/(?P<model>[A-Za-z0-9_.\-]+)(/(?P<version>[0-9]+))?)?/?"
)


def open_backend(endpoint: Addresses, options: EndpointOptions) -> Backend:
    """Open ``onnx:PATH``, ``grpc://host:8001/MODEL[/VERSION]``, ``http(s)://host:8000/MODEL`` or ``scripted:SCRIPT``.

    Failures that may pass are tried again as the options say; of several addresses, when none of them answers.

    Raises:
        SuiteError: an address that is none of these.
        EndpointError: a file that is not there or can't be loaded.
    """
    if not isinstance(endpoint, str):
        once = options.model_copy(update={"retries": 0})
        together = options.model_copy(update={"concurrency": len(endpoint) * options.concurrency})
        return GuardedBackend(FleetBackend([open_backend(address, once) for address in endpoint], together))
    scheme, _, rest = endpoint.partition(":")
    if scheme == "onnx":
        return OrtBackend(endpoint, Path(rest), options)
    if scheme == "scripted":
        return GuardedBackend(ScriptedBackend(endpoint, read_script(rest), options))
    return GuardedBackend(_connected(endpoint, options, "/MODEL"))


def list_models(endpoint: str, options: EndpointOptions) -> tuple[str, ...] | None:
    """Return what a server ``SCHEME://HOST:PORT`` says it holds; None where the address already names a model.

    Raises:
        SuiteError: an address that is none.
        EndpointError: nothing answers there; EndpointRefused where the server has no repository index.
    """
    if endpoint.partition(":")[0] in LOCAL:
        return None
    server = _connected(endpoint, options, "")
    try:
        return None if server.model else server.models()
    finally:
        server.close()


def _connected(endpoint: str, options: EndpointOptions, form: str) -> TritonBackend:
    scheme, _, rest = endpoint.partition(":")
    shown = re.sub(r"[?#].*", "?***", re.sub(r"//.*@", "//***@", endpoint))
    if scheme not in SCHEMES:
        raise SuiteError(problem(f"endpoint {shown}", "a known scheme", repr(scheme), did_you_mean(scheme, SCHEMES)))
    match = REMOTE.fullmatch(rest.removeprefix("//"))
    if match is None or not rest.startswith("//") or (form and not match["model"]):
        several = "Name one address; a list of them stands in a suite"
        hint = several if "," in rest else "Tokens belong into options.auth"
        raise SuiteError(problem(f"endpoint {shown}", f"{scheme}://HOST:PORT{form}", "another form", hint))
    from harness.backends.triton import TritonBackend  # slow to import, and often not asked

    return TritonBackend(endpoint, scheme, match["address"], match["model"] or "", match["version"] or "", options)
