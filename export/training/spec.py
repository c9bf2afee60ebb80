"""The types of a training file: which detectors, from which images, by which recipe. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from export.detectors.architecture import Scale
from export.training.recipe import Recipe
from harness.frozen import Frozen, Several
from harness.names import did_you_mean
from harness.spec.suite import DataSpec
from harness.spec.tasks import Name, Split


class FromSplit(Frozen):
    """Validation images are a split of their own."""

    split: Literal["train", "val"] = "val"


class FromShare(Frozen):
    """Validation images are a share of the training split's sources, chosen by a seeded hash."""

    share: Annotated[float, Field(gt=0, lt=1)]


def _overrides(value: Any) -> Any:
    """Check that every key is a recipe's and every value fits it."""
    if isinstance(value, Mapping):
        for key in value:
            if key not in Recipe.model_fields:
                raise ValueError(f"a recipe has no {key!r}. {did_you_mean(str(key), list(Recipe.model_fields))}")
        try:
            Recipe.model_validate({"epochs": 1, "lr": 1, **value})
        except ValidationError as error:
            said = error.errors(include_url=False)[0]
            key = ".".join(map(str, said["loc"]))
            raise ValueError(f"recipe {key}: {said['msg']}, got {said['input']!r}. Correct it") from error
    return value


class DetectorSpec(Frozen):
    """Detectors of one or more architectures, trained alike.

    Attributes:
        architecture: wildcard over the architectures, or several.
        scale: as published, or the miniature's.
        data: name of the data set.
        generators: wildcards over its generators.
        mixed: one detector of them all; otherwise one for each.
        tag: last part of the entries' names; ``{generator}`` and ``{seed}`` stand for what they say.
        split: whose images train.
        validation: ``{split: val}`` or ``{share: 0.05}``; never the split that suites test.
        images: at most so many images of each class, by a seeded hash.
        classes: at most so many sources or classes of images, by a seeded hash; real and fake alike.
        init: ``scratch``, ``imagenet``, or a file of weights that an earlier training left.
        freeze: wildcards over parameters that stay as they are.
        recipe: what differs from the architecture's own.
        seed: of weights, order and augmentation, or several: one detector each.
    """

    architecture: Annotated[Several[str], Field(min_length=1)] = ("*",)
    scale: Scale = "full"
    data: str
    generators: tuple[str, ...] = ("*",)
    mixed: bool = False
    tag: str = Field(default="{generator}", pattern=r"^([a-z0-9_]|\{generator\}|\{seed\})+$")
    split: Split = "train"
    validation: FromSplit | FromShare = FromSplit()
    images: PositiveInt | None = None
    classes: PositiveInt | None = None
    init: str = ""
    freeze: tuple[str, ...] = ()
    recipe: Annotated[
        dict[str, Any], BeforeValidator(_overrides), WithJsonSchema({"$ref": "#/$defs/Recipe", "type": "object"})
    ] = {}
    seed: Annotated[Several[int], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _apart(self) -> DetectorSpec:
        if isinstance(self.validation, FromSplit) and self.validation.split == self.split:
            raise ValueError("validation images must not be trained on: take another split, or {share: 0.05}")
        if not self.mixed and "{generator}" not in self.tag:
            raise ValueError("one detector for each generator needs {generator} in its tag")
        if len(self.seed) > 1 and "{seed}" not in self.tag:
            raise ValueError("one detector for each seed needs {seed} in its tag")
        return self


class Training(Frozen):
    """A training file.

    Attributes:
        name: of the folder of its runs.
        description: one sentence.
        repository: where entries go, relative to the file.
        licence: of the weights.
        data: data sets by name.
        detectors: what is trained.
        precision: of Lightning Fabric: ``32-true``, ``16-mixed`` or ``bf16-mixed`` (AMP).
        accumulate: parts that a batch is taken in, for less memory.
        checkpoint_minutes: so much is lost at most when the process is killed.
        workers: processes that read images; None: by the data's size and the processor.
        check_served: whether the parity of each entry includes a Triton on this machine.
    """

    name: Name
    description: str = ""
    repository: str = "../model_repository"
    licence: str = "unknown"
    data: dict[str, DataSpec]
    detectors: Annotated[tuple[DetectorSpec, ...], Field(min_length=1)]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accumulate: PositiveInt = 1
    checkpoint_minutes: PositiveFloat = 5.0
    workers: Annotated[int, Field(ge=0)] | None = None
    check_served: bool = True

    @model_validator(mode="after")
    def _data_exist(self) -> Training:
        for detector in self.detectors:
            if detector.data not in self.data:
                raise ValueError(f"detectors take data {detector.data!r}, and data names {', '.join(self.data)}")
        return self
