"""What a suite says of a difference task: its pairs, and the methods that are held against each other. Values only."""

from __future__ import annotations

from itertools import product
from typing import Annotated

from pydantic import Field, PositiveInt, WithJsonSchema, model_validator

from harness.difference.method import (
    Method,
    parse_method,
    parse_preprocess,
    parse_registration,
    parse_strategy,
    postprocess_id,
)
from harness.difference.postprocess import parse_postprocess
from harness.difference.strategies import GradCam
from harness.frozen import Frozen
from harness.spec.words import canonical


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"description": example, "anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]}
    )


def _marking(value: object) -> str:
    """Return the id of post-processors of which one is a threshold."""
    steps = parse_postprocess(value)
    if not steps:
        raise ValueError("`postprocess: identity` marks nothing: name a threshold, as in `otsu`")
    return postprocess_id(steps)


StrategyId = Annotated[
    str,
    canonical(lambda value: parse_strategy(value).id),
    _schema("`difference metric=ssim` or `{gradient: {metric: lpips}}`"),
]
PreprocessId = Annotated[
    str, canonical(lambda value: parse_preprocess(value).id), _schema("`identity` or `lowpass cutoff=0.2`")
]
PostprocessId = Annotated[
    str,
    canonical(_marking),
    _schema("`otsu`, `smooth + percentile q=98 + cleanup`, or a list of them"),
]
RegistrationId = Annotated[
    str, canonical(lambda value: parse_registration(value).id), _schema("`none`, `phase` or `ecc motion=euclidean`")
]


class GeneratedPairsSpec(Frozen):
    """Pairs made of photographs that ship inside scikit-image and scikit-learn, with inserted, removed, recoloured and
    moved objects.

    Attributes:
        count: pairs of each kind of change, in either split.
        side: of the pictures, in pixels.
        seed: of everything drawn.
    """

    count: PositiveInt = 8
    side: Annotated[int, Field(ge=64, le=256)] = 192
    seed: int = 0


class PairsSpec(Frozen):
    """Where pairs come from: made (``{generated: {count: 8}}``), or listed (``{table: FILE, root: DIR}``).

    Attributes:
        generated: how they are made.
        table: a CSV of ``a,b`` and where known ``name,subset,split,source,mask,boxes``, relative to the suite file.
        root: folder that its paths start from; the table's own where empty.
    """

    generated: GeneratedPairsSpec | None = None
    table: str = ""
    root: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> PairsSpec:
        if (self.generated is None) == (not self.table):
            raise ValueError("pairs are `generated` or come from a `table`: name one of them")
        return self


class MethodsSpec(Frozen):
    """Every registration with every pre-processor, strategy and chain of post-processors.

    Where a strategy asks a model about a picture, pre-processors that leave none are passed over.
    """

    strategies: tuple[StrategyId, ...] = Field(default=("difference",), min_length=1)
    preprocess: tuple[PreprocessId, ...] = Field(default=("identity",), min_length=1)
    postprocess: tuple[PostprocessId, ...] = Field(default=("smooth + otsu + cleanup",), min_length=1)
    registration: tuple[RegistrationId, ...] = Field(default=("none",), min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> MethodsSpec:
        for name in type(self).model_fields:
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"`{name}` names the same one twice")
        return self

    def methods(self) -> list[Method]:
        """Return every combination that goes together."""
        found = []
        for registration, preprocess, strategy, postprocess in product(
            self.registration, self.preprocess, self.strategies, self.postprocess
        ):
            asks = isinstance(parse_strategy(strategy), GradCam)
            if not asks or parse_preprocess(preprocess).leaves_a_picture:
                found.append(parse_method(strategy, preprocess, postprocess, registration))
        return found


class BaselineSpec(Frozen):
    """The method that others are held against."""

    strategy: StrategyId = "difference"
    preprocess: PreprocessId = "identity"
    postprocess: PostprocessId = "otsu"
    registration: RegistrationId = "none"

    def method(self) -> Method:
        """Return it."""
        return parse_method(self.strategy, self.preprocess, self.postprocess, self.registration)
