"""`harness serve`: a server until somebody stops it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import EndpointUnavailable, problem
from harness.repository import match_names
from harness.serving.server import TritonServer


def serve(
    repository: Path,
    models: Sequence[str] | None,
    *,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    write: Callable[[str], None],
) -> None:
    """Serve a repository on loopback, print every endpoint, and block until SIGINT or SIGTERM.

    Args:
        repository: the model repository.
        models: names or wildcards to load; all where None.
        http_port, grpc_port, metrics_port: 0 picks a free one.
        write: receives lines for the user.

    Raises:
        CardError: a name that is not in the repository.
        EndpointUnavailable: the server does not come up, or goes down by itself.
    """
    names = list(dict.fromkeys(name for pattern in (models or ["*"]) for name in match_names(repository, pattern)))
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with TritonServer(repository, names, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port) as server:
        for name in names:
            write(f"{server.grpc_url(name)}   {server.http_url(name)}")
        write(f"metrics: {server.metrics_url}   log: {server.log}   stop: Ctrl-C")
        while not stopped.wait(0.5):
            if not server.running:
                raise EndpointUnavailable(problem("tritonserver", "a running server", "it stopped", "See its log"))
    write("stopped")
