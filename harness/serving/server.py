"""A real tritonserver on this machine: started on loopback, waited for, stopped cleanly."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.errors import EndpointUnavailable, StoreError, problem
from harness.held import temporary
from harness.serving.locate import Tritonserver, require_tritonserver

HOME = "discern-triton-"
BACKEND = Path(__file__).parent / "backends" / "onnxruntime"
STOP_S = 15.0
PR_SET_PDEATHSIG = 1

GPU_NOISE = ("nvml", "dcgm", "cudadriver")
"""Words of the complaints that a server makes on every machine without a GPU."""


class TritonServer:
    """A server for a model repository; a context manager.

    Args:
        repository: the model repository.
        models: load only these; all where None.
        host: address to bind; loopback unless said otherwise.
        http_port, grpc_port, metrics_port: 0 picks a free one.
        log: where the server's own lines go; a temporary file where None.
        ready_s: how long loading may take.
        threads: of each model's session; all cores where 0.
    """

    def __init__(
        self,
        repository: Path,
        models: Sequence[str] | None = None,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        log: Path | None = None,
        ready_s: float = 120.0,
        threads: int = 0,
    ) -> None:
        self.repository, self.models, self.host = repository.resolve(), models, host
        free = iter(free_ports(host, 3))
        self.http_port, self.grpc_port, self.metrics_port = (
            port or next(free) for port in (http_port, grpc_port, metrics_port)
        )
        self.ready_s, self.threads = ready_s, threads
        self._held = ExitStack()
        self._home = self._held.enter_context(temporary(HOME))
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TritonServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def grpc_url(self, model: str) -> str:
        """Return a model's gRPC endpoint."""
        return f"grpc://{self.host}:{self.grpc_port}/{model}"

    def http_url(self, model: str) -> str:
        """Return a model's HTTP endpoint."""
        return f"http://{self.host}:{self.http_port}/{model}"

    @property
    def log(self) -> Path:
        """Where the server's own lines go."""
        return self._log or self._home / "triton.log"

    @property
    def metrics_url(self) -> str:
        """Address of its metrics, in Prometheus's format."""
        return f"http://{self.host}:{self.metrics_port}/metrics"

    @property
    def pid(self) -> int | None:
        """The process's id; None where it is not alive."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until every model is ready; one that crashes meanwhile is started once more.

        Raises:
            EndpointUnavailable: there is no server to start, or it does not become ready; the message ends with what
                the server itself complained of.
            StoreError: the disk refuses its log or its backends.
        """
        found = require_tritonserver()
        if not self._home.is_dir():  # it was stopped
            self._home = self._held.enter_context(temporary(HOME))
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            command = self._command(found, assemble(self._home / "backends", found))
            self._process = self._launch(command, found)
        except OSError as error:
            do = "Free space, or choose --out DIR and TMPDIR elsewhere"
            raise StoreError(problem("tritonserver", "places for its log and backends", str(error), do)) from error
        try:
            self._wait()
        except EndpointUnavailable:
            if not self._crashed:
                raise
            self._process = self._launch(command, found)
            self._wait()

    @property
    def _crashed(self) -> bool:
        """Whether a signal ended the process: no fault of an entry's, which ends it with a status of its own."""
        return self._process is not None and (self._process.poll() or 0) < 0

    def _launch(self, command: Sequence[str], found: Tritonserver) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(found),
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def stop(self) -> None:
        """Stop the server: SIGTERM, and SIGKILL if it does not go. May be called twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._held.close()

    def _command(self, found: Tritonserver, backends: Path) -> list[str]:
        command = [
            str(found.binary),
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            "--exit-timeout-secs=10",
        ]
        for kind, port in (("http", self.http_port), ("grpc", self.grpc_port), ("metrics", self.metrics_port)):
            command += [f"--{kind}-address={self.host}", f"--{kind}-port={port}"]
        if self.models is not None:
            command += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in self.models)]
        return command

    def _environment(self, found: Tritonserver) -> dict[str, str]:
        inherited = os.environ.get("LD_LIBRARY_PATH")
        libraries = [*map(str, found.libraries), *([inherited] if inherited else [])]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PYTHONHOME": sys.base_prefix,
            "DISCERN_SITE_PACKAGES": os.pathsep.join(item for item in sys.path if item.endswith("-packages")),
            "DISCERN_REPOSITORY": str(self.repository),
            "DISCERN_SERVER_THREADS": str(self.threads),
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + self.ready_s
        while time.monotonic() < deadline:
            if not self.running:
                raise EndpointUnavailable(
                    problem("tritonserver", "a server that stays up", self._said(), "Correct the entry")
                )
            try:
                with urllib.request.urlopen(
                    f"http://{self.host}:{self.http_port}/v2/health/ready", timeout=2
                ) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise EndpointUnavailable(
            problem("tritonserver", f"ready within {self.ready_s:g} s", self._said(), "See its log")
        )

    def _said(self) -> str:
        """Return the server's last complaints."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "no log"
        errors = [line.partition("] ")[2] or line for line in lines if line[:1] == "E" or "error" in line.lower()]
        quiet = [line for line in errors if not any(word in line.lower() for word in GPU_NOISE)]
        return " | ".join((quiet or lines)[-3:])[:800] or "nothing"


def assemble(target: Path, found: Tritonserver) -> Path:
    """Make a backend directory: the Python backend with this interpreter's stub, and our `onnxruntime` on top of it."""
    python = target / "python"
    shutil.copytree(found.backends / "python", python)
    shutil.copy2(found.stub, python / "triton_python_backend_stub")
    (python / "triton_python_backend_stub").chmod(0o755)
    shutil.copytree(BACKEND, target / "onnxruntime")
    return target


def free_ports(host: str, count: int) -> list[int]:
    """Return ports that nothing listens on at this moment."""
    sockets = []
    try:
        for _ in range(count):
            item = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            item.bind((host, 0))
            sockets.append(item)
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _die_with_parent() -> None:
    """Ask Linux to stop the child when its parent dies, whatever kills it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
