"""Words that every task of a suite uses: splits, and the names that a suite gives. Values only."""

from typing import Annotated, Literal

from pydantic import Field

Split = Literal["train", "val", "test"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.\-]*$", max_length=80)]
