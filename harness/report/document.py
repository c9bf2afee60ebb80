"""A report as a JSON document; pictures are named by their digest, not carried."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from harness.report.tree import Report

FORMAT = 1
"""Version of the document's layout."""


def document(report: Report) -> str:
    """Return the whole tree as JSON.

    Every value of the tree is an object with its fields in order and its class name, in lower case, under ``type``.
    Nan and infinite figures are null, a thumbnail is ``image_sha256``.
    """
    tree = {"format": FORMAT, **_value(report)}
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _value(value: Any) -> Any:
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"type": type(value).__name__.lower()} | dict(_entry(name, part) for name, part in parts.items())
    if isinstance(value, Mapping):
        return {str(key): _value(part) for key, part in value.items()}
    if isinstance(value, frozenset):
        return [_value(part) for part in sorted(value)]
    if isinstance(value, tuple | list):
        return [_value(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _entry(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, bytes):
        return f"{name.removesuffix('_png')}_sha256", hashlib.sha256(value).hexdigest()
    return name, _value(value)
