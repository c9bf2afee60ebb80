"""Words that every task of a suite uses: splits, names that a suite gives, and things named with parameters."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from harness.errors import SuiteError

Split = Literal["train", "val", "test"]
LOCAL, RAY = "local", "ray"
"""Engines: this process; a Ray cluster of this machine's cores, or one at ``ray://HOST:PORT``."""

ENGINE = r"^(local|ray|ray://[A-Za-z0-9.\-\[\]:]+)$"
Engine = Annotated[str, Field(pattern=ENGINE)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.\-]*$", max_length=80)]


def canonical(read: Callable[[object], str]) -> BeforeValidator:
    """Return what turns a thing, as suites write it, into its canonical id.

    Args:
        read: returns the id, or raises SuiteError.
    """

    def checked(value: Any) -> str:
        try:
            return read(value)
        except SuiteError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(checked)
