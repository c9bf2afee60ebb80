"""The base of every value read from a file: frozen, and refusing keys that it does not know."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

T = TypeVar("T")


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Several = Annotated[tuple[T, ...], BeforeValidator(_several)]
"""One, or a list of them."""


class Frozen(BaseModel):
    """An immutable pydantic value; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
