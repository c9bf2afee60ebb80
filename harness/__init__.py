"""discern's harness: runs suites against served image models and reports what it can defend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.loaded import LoadedRun, load_run

__version__ = "0.1.0"
__all__ = ["LoadedRun", "load_run"]


def __getattr__(name: str) -> Any:
    """Reach what needs pandas only when it is asked for."""
    if name in __all__:
        from harness import loaded

        return getattr(loaded, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
