"""From an address to an open backend."""

from __future__ import annotations

import re
from pathlib import Path

from harness.backends.base import Backend, EndpointOptions
from harness.backends.ort import OrtBackend
from harness.backends.policy import GuardedBackend
from harness.backends.scripted import ScriptedBackend, read_script
from harness.errors import SuiteError, problem
from harness.names import did_you_mean

SCHEMES = ("onnx", "scripted", "grpc", "grpcs", "http", "https")

REMOTE = re.compile(
    r"(?P<address>(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.\-]+):[0-9]{1,5})/(?P<model>[A-Za-z0-9_.\-]+)(/(?P<version>[0-9]+))?/?"
)


def open_backend(endpoint: str, options: EndpointOptions) -> Backend:
    """Open ``onnx:PATH``, ``grpc://host:8001/MODEL[/VERSION]``, ``http(s)://host:8000/MODEL`` or ``scripted:SCRIPT``.

    Failures that may pass are tried again as the options say.

    Raises:
        SuiteError: an address that is none of these.
        EndpointError: a file that is not there or can't be loaded.
    """
    scheme, _, rest = endpoint.partition(":")
    if scheme not in SCHEMES:
        raise SuiteError(problem(f"endpoint {endpoint}", "a known scheme", repr(scheme), did_you_mean(scheme, SCHEMES)))
    if scheme == "onnx":
        return OrtBackend(endpoint, Path(rest), options)
    if scheme == "scripted":
        return GuardedBackend(ScriptedBackend(endpoint, read_script(rest), options))
    match = REMOTE.fullmatch(rest.removeprefix("//"))
    if match is None or not rest.startswith("//"):
        shown = re.sub(r"//.*@", "//***@", endpoint)
        hint = "Tokens belong into options.auth"
        raise SuiteError(problem(f"endpoint {shown}", f"{scheme}://HOST:PORT/MODEL", "another form", hint))
    from harness.backends.triton import TritonBackend  # slow to import, and often not asked

    return GuardedBackend(
        TritonBackend(endpoint, scheme, match["address"], match["model"], match["version"] or "", options)
    )
