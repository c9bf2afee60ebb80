"""Finds a tritonserver on this machine: the one inside the nvidia-pytriton wheel, or one on the PATH."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EndpointUnavailable, problem


@dataclass(frozen=True)
class Tritonserver:
    """A server binary with what it needs.

    Attributes:
        binary: the executable.
        backends: its own backend directory.
        stub: the Python stub for this interpreter's version.
        libraries: folders of shared libraries.
    """

    binary: Path
    backends: Path
    stub: Path
    libraries: tuple[Path, ...]


def find_tritonserver() -> Tritonserver | None:
    """Return the server of the nvidia-pytriton wheel, else an installed one; None where there is neither.

    The wheel's Python side is never imported.
    """
    python = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    spec = importlib.util.find_spec("pytriton")
    if spec is not None and spec.origin:
        home = Path(spec.origin).parent / "tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
        libraries = Path(spec.origin).parents[1] / "nvidia_pytriton.libs"
        if (home / "bin" / "tritonserver").is_file() and stub.is_file():
            return Tritonserver(home / "bin" / "tritonserver", home / "backends", stub, (libraries, python))
    installed = shutil.which("tritonserver") or "/opt/tritonserver/bin/tritonserver"
    backends = Path(installed).resolve().parents[1] / "backends"
    stub = backends / "python" / "triton_python_backend_stub"
    if Path(installed).is_file() and stub.is_file():
        return Tritonserver(Path(installed), backends, stub, (python,))
    return None


def require_tritonserver() -> Tritonserver:
    """Return the server. Raises EndpointUnavailable with the command that installs one."""
    found = find_tritonserver()
    if found is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise EndpointUnavailable(
            problem(
                "tritonserver",
                f"the nvidia-pytriton wheel with a stub for Python {version}, or a tritonserver on the PATH",
                "neither",
                "Install the wheel: uv sync --extra serve (Linux x86-64)",
            )
        )
    return found
