"""What training files change of recipes: checked where it is read, laid over a recipe elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from harness.frozen import Frozen
from harness.names import did_you_mean


def check_overrides(recipe: type[Frozen], what: str, **least: Any) -> Callable[[Any], Any]:
    """Return what checks that every key is a recipe's and every value fits it, and gives them back.

    Args:
        recipe: its type.
        what: what it is, for complaints (``a recipe``).
        least: values of what a recipe must have, for those that a file leaves out.
    """

    def check(value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in recipe.model_fields:
                    raise ValueError(f"{what} has no {key!r}. {did_you_mean(str(key), list(recipe.model_fields))}")
            try:
                recipe.model_validate({**least, **value})
            except ValidationError as error:
                said = error.errors(include_url=False)[0]
                key = ".".join(map(str, said["loc"]))
                raise ValueError(f"recipe {key}: {said['msg']}, got {said['input']!r}. Correct it") from error
        return value

    return check
