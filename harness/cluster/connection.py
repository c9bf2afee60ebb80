"""A Ray cluster: one of this machine's own cores, that nothing else reaches, or one at an address. Sends no task."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from harness.errors import EndpointUnavailable, HarnessError, problem
from harness.events import Events
from harness.extras import load_extra

EXTRA = "ray"

STORE_BYTES = 2**28
"""Shared memory of a cluster here: manifests alone lie there."""

STARTS = 3

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


@contextmanager
def connected(address: str | None, events: Events) -> Iterator[ModuleType]:
    """Yield the module ``ray``, connected; a cluster that was started for it ends with it.

    A cluster here listens on loopback and lets in who has its token, so that no other user of the machine runs code
    through it; it tells nobody that it is used.

    Args:
        address: ``ray://host:port``; a cluster of this machine's cores where None.
        events: receives progress while it starts.

    Raises:
        HarnessError: the extra ``ray`` is not installed.
        EndpointUnavailable: no cluster answers there.
    """
    environ = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    if address is None:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **token}  # the former: processes bind loopback
    events.begin("starting a Ray cluster" if address is None else f"connecting to {address}", 0, "workers")
    with _environment(environ):
        ray = load_extra("ray", EXTRA)
        before = signal.getsignal(signal.SIGTERM)
        try:
            _start(ray, address)
        finally:
            events.end()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has its own
        try:
            yield ray
        except ConnectionError as error:
            do = "Start it again, then run the same command again to go on"
            raise EndpointUnavailable(problem(f"Ray at {address}", "a cluster", f"none: {error}", do)) from error
        finally:
            ray.shutdown()


def _start(ray: ModuleType, address: str | None) -> None:
    """Connect; a cluster here is started again where the machine was too busy for it to be there in Ray's 30 seconds.

    Raises:
        EndpointUnavailable: there is none, or it does not start.
    """
    for left in reversed(range(STARTS if address is None else 1)):
        try:
            if address is None:
                cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
                ray.init("local", num_cpus=cores, object_store_memory=STORE_BYTES, include_dashboard=False, **QUIET)
            else:
                ray.init(address, **QUIET)
            return
        except Exception as error:  # Ray raises what it likes, bare ones too
            ray.shutdown()
            if not left:
                got = f"{type(error).__name__}: {error}".partition("\n")[0]
                check = "Check the address, ray://HOST:10001, and RAY_AUTH_TOKEN where it wants a token"
                do = "Run the same command again" if address is None else check
                what = f"Ray at {address or 'this machine'}"
                raise EndpointUnavailable(problem(what, "a cluster", got, do)) from error


def width_of(ray: ModuleType, gpu: bool) -> tuple[int, int]:
    """Return how many workers a cluster has room for, and the cores of each.

    Args:
        ray: connected.
        gpu: whether each takes a GPU.

    Raises:
        HarnessError: it has none.
    """
    resources: Mapping[str, float] = ray.cluster_resources()
    cores, wanted = int(resources.get("CPU", 0)), int(resources.get("GPU" if gpu else "CPU", 0))
    if min(cores, wanted) < 1:
        do = "Start the cluster with some, or use --engine local"
        raise HarnessError(problem("Ray cluster", "GPUs and cores" if gpu else "cores", str(dict(resources)), do))
    return min(cores, wanted), max(1, cores // wanted)


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Have variables in the environment, which child processes get, and leave it as it was."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
