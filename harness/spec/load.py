"""Suite file to validated suite, with every complaint pinned to its line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import SuiteError
from harness.names import did_you_mean
from harness.spec.source import Source, override, read_source
from harness.spec.suite import TAG, TASKS, Suite


def load_suite(path: Path, settings: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Suite:
    """Read, override and validate a suite.

    Args:
        path: the YAML file.
        settings: ``a.b=c`` overrides, applied in order.
        environ: where ``${NAME}`` is looked up.

    Raises:
        SuiteError: with one line per complaint: ``file:line: key: expected X, got Y. Do Z.``.
    """
    source = override(read_source(path, environ), settings)
    try:
        return Suite.model_validate(source.data)
    except ValidationError as error:
        raise SuiteError("\n".join(_complaints(error, source))) from error


def _complaints(error: ValidationError, source: Source) -> Iterable[str]:
    for detail in error.errors(include_url=False):
        where = tuple(part for part in detail["loc"] if _in_data(part))
        key = ".".join(str(part) for part in where) or "suite"
        place = source.locate(where)
        got = detail.get("input")
        match detail["type"]:
            case "extra_forbidden":
                keys = _known_keys(detail["loc"][:-1])
                hint = did_you_mean(str(where[-1]), keys)
                yield f"{place}: {key}: expected a known key, got {where[-1]!r}. {hint}"
            case "missing":
                yield f"{place}: {key}: expected a value, got nothing. Add `{where[-1]}: ...`."
            case "value_error":
                yield f"{place}: {key}: {detail['msg'].removeprefix('Value error, ').removesuffix('.')}."
            case _:
                wanted = detail["msg"].removeprefix("Input should be ").rstrip(".")
                yield f"{place}: {key}: expected {wanted}, got {_short(got)}. Correct it."


def _in_data(part: str | int) -> bool:
    """Pydantic puts the tag of a union into the location; keys of a suite never look like that."""
    return isinstance(part, int) or (part not in {"card_threshold", "function-before"} and not part.startswith(TAG))


def _known_keys(where: Sequence[str | int]) -> list[str]:
    """Return the keys that the type at a location takes, walking the suite's types."""
    model: Any = Suite
    for part in where:
        tagged = str(part).startswith(TAG)
        model = TASKS[str(part).removeprefix(TAG)] if tagged else _inner(model, part)
        if model is None:
            return []
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner(model: Any, part: str | int) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel) and isinstance(part, str):
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
    else:
        annotation = model
    return next(iter(_models_in(annotation)), None)


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
