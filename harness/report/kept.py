"""A report as bytes that it can be made from again, whole; for keeping, not for reading."""

from __future__ import annotations

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.report.tree import Report

Conclusion = tuple[Report, tuple[str, ...]]
"""A report, and why its run must not be trusted."""

_ADAPTER: TypeAdapter[Conclusion] = TypeAdapter(
    Conclusion, config=ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64")
)


def dump(conclusion: Conclusion) -> bytes:
    """Return a conclusion as JSON, thumbnails and all."""
    return _ADAPTER.dump_json(conclusion)


def load(content: bytes) -> Conclusion | None:
    """Return what :func:`dump` was given; None for anything else."""
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError:
        return None
