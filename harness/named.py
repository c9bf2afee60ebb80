"""Things that a suite calls by name and parameters, as ``jpeg quality=65``: their base, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from harness.errors import SuiteError, problem
from harness.frozen import Frozen
from harness.names import did_you_mean


class Named(Frozen):
    """A value with an identity; its fields are its parameters, its ``name`` its name in suites.

    Attributes:
        telling: parameters that are named even in brief.
    """

    name: ClassVar[str]
    telling: ClassVar[frozenset[str]] = frozenset()

    @property
    def id(self) -> str:
        """``name key=value ...`` with all parameters, in the order of the class."""
        return self._said(self.model_dump(exclude_none=True))

    @property
    def brief(self) -> str:
        """The same with those parameters alone that are not as the class has them; reads back as the same value."""
        usual = {key: value.default for key, value in type(self).model_fields.items() if key not in self.telling}
        said = self.model_dump(exclude_none=True).items()
        return self._said({key: value for key, value in said if key not in usual or usual[key] != value})

    def _said(self, parameters: Mapping[str, object]) -> str:
        return " ".join([self.name, *(f"{key}={_word(value)}" for key, value in parameters.items())])


N = TypeVar("N", bound=Named)


THEN = " + "
"""Between the parts of a chain."""


def read_chain(value: object, kinds: Mapping[str, type[N]], what: str, example: str) -> tuple[N, ...]:
    """Read one or several that follow each other, as suites write them: one, a list of them, or their joined ids.

    Args:
        value, kinds, what, example: as of :func:`read_named`.

    Raises:
        SuiteError: nothing, an unknown name or parameter, or a value out of range.
    """
    if not value or not isinstance(value, str | dict | list) or (isinstance(value, dict) and len(value) != 1):
        raise SuiteError(problem(what, "a name, {name: {...}} or a list", repr(value), f"Write e.g. {example}"))
    if isinstance(value, list):
        return tuple(part for item in value for part in read_chain(item, kinds, what, example))
    single = value.split(THEN) if isinstance(value, str) else [value]
    return tuple(read_named(item, kinds, what, example) for item in single)


def read_named(value: object, kinds: Mapping[str, type[N]], what: str, example: str) -> N:
    """Read one as suites write it, or its canonical id.

    Args:
        value: ``"jpeg quality=65"`` or ``{"jpeg": {"quality": 65}}``.
        kinds: classes by name.
        what: what they are, for complaints (``degradation``).
        example: how one is written.

    Raises:
        SuiteError: an unknown name or parameter, or a value out of range.
    """
    if isinstance(value, str):
        name, *words = value.split() or [""]
        pairs = [word.partition("=") for word in words]
        if any(not separator for _, separator, _ in pairs):
            raise SuiteError(problem(f"{what} {value!r}", "key=value words", value, f"Write e.g. {example}"))
        parameters = {key: raw for key, _, raw in pairs}
        if len(parameters) < len(pairs):
            raise SuiteError(problem(f"{what} {value!r}", "each parameter once", value, "Remove one"))
        return _build(name, parameters, kinds, what, strings=True)
    if isinstance(value, dict) and len(value) == 1:
        ((name, parameters),) = value.items()
        return _build(str(name), {} if parameters is None else parameters, kinds, what)
    raise SuiteError(problem(what, "a name or {name: {...}}", repr(value), f"Write e.g. {example}"))


def _build(name: str, parameters: Any, kinds: Mapping[str, type[N]], what: str, strings: bool = False) -> N:
    kind = kinds.get(name)
    if kind is None:
        raise SuiteError(problem(what, "a known one", repr(name), did_you_mean(name, list(kinds))))
    if not isinstance(parameters, dict):
        raise SuiteError(problem(f"{what} {name}", "parameters by name", repr(parameters), f"Write {name}: {{...}}"))
    for key in parameters:
        if key not in kind.model_fields:
            hint = did_you_mean(str(key), list(kind.model_fields)) if kind.model_fields else "It takes none"
            raise SuiteError(problem(f"{what} {name}", "a known parameter", repr(key), hint))
    try:
        return kind.model_validate(parameters, strict=not strings)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in detail["loc"]) or name
        where = f"{what} {name}: {key}"
        if detail["type"] == "missing":
            raise SuiteError(problem(where, "a value", "nothing", f"Write {name} {key}=VALUE")) from error
        wanted = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise SuiteError(problem(where, wanted, repr(detail["input"]), "Correct it")) from error


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")
