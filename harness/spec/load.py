"""A file to the validated value that it stands for, with every complaint pinned to its line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harness.errors import SuiteError
from harness.names import did_you_mean
from harness.spec.claim_tables import read_claims
from harness.spec.source import Source, override, read_source
from harness.spec.suite import Suite
from harness.spec.tasks import TAG, TASKS

S = TypeVar("S", bound=BaseModel)

SHOWN = 20
"""Complaints about one file."""


def load_suite(path: Path, settings: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> Suite:
    """Read, override and validate a suite, the claims of its tables among its claims.

    Raises:
        SuiteError: as :func:`load_spec` and :func:`read_claims` do.
    """
    suite = load_spec(Suite, path, settings, environ)
    said = suite.report
    tables = (claim for table in said.claim_tables for claim in read_claims(table, path.parent))
    return suite.model_copy(update={"report": said.model_copy(update={"claims": (*said.claims, *tables)})})


def load_spec(kind: type[S], path: Path, settings: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> S:
    """Read, override and validate a file of any kind.

    Args:
        kind: what the file says, as a type.
        path: the YAML file.
        settings: ``a.b=c`` overrides, applied in order.
        environ: where ``${NAME}`` is looked up.

    Raises:
        SuiteError: with one line per complaint: ``file:line: key: expected X, got Y. Do Z.``.
    """
    source = override(read_source(path, environ), settings)
    try:
        return kind.model_validate(source.data)
    except ValidationError as error:
        complaints = list(islice(_complaints(error, source, kind), SHOWN + 1))
        more = [f"{source.path}: and more; correct these first."] if len(complaints) > SHOWN else []
        raise SuiteError("\n".join([*complaints[:SHOWN], *more])) from error


def _complaints(error: ValidationError, source: Source, kind: type[BaseModel]) -> Iterable[str]:
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and any(_below(other["loc"], detail["loc"]) for other in details):
            continue
        where = tuple(part for part in detail["loc"] if _in_data(part))
        key = ".".join(str(part) for part in where) or "file"
        place = source.locate(where)
        got = detail.get("input")
        match detail["type"]:
            case "extra_forbidden":
                keys = _known_keys(kind, detail["loc"][:-1])
                hint = did_you_mean(str(where[-1]), keys)
                yield f"{place}: {key}: expected a known key, got {where[-1]!r}. {hint}"
            case "missing":
                yield f"{place}: {key}: expected a value, got nothing. Add `{where[-1]}: ...`."
            case "union_tag_invalid":
                kinds = [kind.removeprefix(TAG) for kind in re.findall(r"'([^']*)'", detail["ctx"]["expected_tags"])]
                got = str(detail["ctx"]["tag"]).removeprefix(TAG)
                hint = did_you_mean(got, kinds)
                place = source.locate((*where, "kind"))
                yield f"{place}: {key}: expected a kind among {', '.join(kinds)}, got {got!r}. {hint}"
            case "value_error":
                yield f"{place}: {key}: {detail['msg'].removeprefix('Value error, ').removesuffix('.')}."
            case _:
                wanted = detail["msg"].removeprefix("Input should be ").rstrip(".")
                yield f"{place}: {key}: expected {wanted}, got {_short(got)}. Correct it."


def _below(where: Sequence[str | int], above: Sequence[str | int]) -> bool:
    """Whether a location lies within another: a list counts as empty where all of its items are wrong."""
    return len(where) > len(above) and tuple(where[: len(above)]) == tuple(above)


def _in_data(part: str | int) -> bool:
    """Pydantic puts the tag of a union into the location; keys of a suite never look like that."""
    return isinstance(part, int) or (part not in {"card_threshold", "function-before"} and not part.startswith(TAG))


def _known_keys(kind: type[BaseModel], where: Sequence[str | int]) -> list[str]:
    """Return the keys that the type at a location takes, walking the file's types."""
    found: Any = kind
    for part in where:
        found = _inner(found, part)
    model = next(iter(_models_in(found)), None)
    return sorted(model.model_fields) if model else []


def _inner(annotation: Any, part: str | int) -> Any:
    """Return the type of what stands at a key, an index or a task's tag."""
    if str(part).startswith(TAG):
        return TASKS[str(part).removeprefix(TAG)]
    if get_origin(annotation) in (dict, tuple):
        return get_args(annotation)[1 if get_origin(annotation) is dict else 0]
    model = next(iter(_models_in(annotation)), None)
    field = model.model_fields.get(str(part)) if model else None
    return field.annotation if field else None


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
