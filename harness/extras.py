"""Reaches the packages that the base install lacks, and says how to install them where they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from harness.errors import HarnessError, problem


def load_extra(module: str, extra: str = "export") -> ModuleType:
    """Return a module that needs an extra.

    Raises:
        HarnessError: the extra is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        raise HarnessError(
            problem(module, f"the package {missing}", "none", f"Install it: uv sync --extra {extra}")
        ) from error
