"""The types of a training file: what is trained, from which images, and how. Values only."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from export.detectors.architecture import Scale
from export.training.attributor_spec import AttributorSpec
from export.training.overrides import check_overrides
from export.training.recipe import Recipe
from harness.frozen import Frozen, Several
from harness.spec.suite import DataSpec
from harness.spec.words import Name, Split


class FromSplit(Frozen):
    """Validation images are a split of their own."""

    split: Literal["train", "val"] = "val"


class FromShare(Frozen):
    """Validation images are a share of the training split's sources, chosen by a seeded hash."""

    share: Annotated[float, Field(gt=0, lt=1)]


class FromData(Frozen):
    """What is trained on the real images of a data set and the fakes of some of its generators.

    Attributes:
        data: name of the data set.
        generators: wildcards over its generators.
        split: whose images train.
        validation: ``{split: val}`` or ``{share: 0.05}``; never the split that suites test.
    """

    data: str
    generators: tuple[str, ...] = ("*",)
    split: Split = "train"
    validation: FromSplit | FromShare = FromSplit()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if isinstance(self.validation, FromSplit) and self.validation.split == self.split:
            raise ValueError("validation images must not be trained on: take another split, or {share: 0.05}")
        return self


class DetectorSpec(FromData):
    """Detectors of one or more architectures, trained alike.

    Attributes:
        architecture: wildcard over the architectures, or several.
        scale: as published, or the miniature's.
        mixed: one detector of them all; otherwise one for each.
        tag: last part of the entries' names; ``{generator}`` and ``{seed}`` stand for what they say.
        images: at most so many images of each class, by a seeded hash.
        classes: at most so many sources or classes of images, by a seeded hash; real and fake alike.
        init: ``scratch``, ``imagenet``, or a file of weights that an earlier training left.
        freeze: wildcards over parameters that stay as they are.
        recipe: what differs from the architecture's own.
        seed: of weights, order and augmentation, or several: one detector each.
    """

    architecture: Annotated[Several[str], Field(min_length=1)] = ("*",)
    scale: Scale = "full"
    mixed: bool = False
    tag: str = Field(default="{generator}", pattern=r"^([a-z0-9_]|\{generator\}|\{seed\})+$")
    images: PositiveInt | None = None
    classes: PositiveInt | None = None
    init: str = ""
    freeze: tuple[str, ...] = ()
    recipe: Annotated[
        dict[str, Any],
        BeforeValidator(check_overrides(Recipe, "a recipe", epochs=1, lr=1)),
        WithJsonSchema({"$ref": "#/$defs/Recipe", "type": "object"}),
    ] = {}
    seed: Annotated[Several[int], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _one_name_each(self) -> DetectorSpec:
        if not self.mixed and "{generator}" not in self.tag:
            raise ValueError("one detector for each generator needs {generator} in its tag")
        if len(self.seed) > 1 and "{seed}" not in self.tag:
            raise ValueError("one detector for each seed needs {seed} in its tag")
        return self


class FingerprintSpec(FromData):
    """Banks of DIF fingerprints: one fingerprint for each generator, over one residual filter.

    Attributes:
        filter: residual filter: ``dncnn`` (the one that ships), ``bilateral``, or a file of DnCNN weights.
        tag: last part of the entries' names; ``{samples}`` and ``{seed}`` stand for what they say.
        samples: at most so many images of each class, by a seeded hash; None: all. Or several: a bank each.
        size: side of the centre crop in pixels.
        base: channels of the U-Net's first level.
        steps: at most so many optimiser steps a fingerprint.
        batch: residuals a step, half of them real.
        margin: of the hinge on correlations.
        lr: learning rate.
        patience: looks without a better validation AUROC before a fingerprint is done; one look takes 25 steps.
        seed: of images, weights, noise and pairs, or several: one bank each.
    """

    filter: str = Field(default="dncnn", min_length=1)
    tag: str = Field(pattern=r"^([a-z0-9_]|\{samples\}|\{seed\})+$")
    samples: Annotated[Several[PositiveInt | None], Field(min_length=1)] = (None,)
    size: Annotated[int, Field(ge=16, multiple_of=16)] = 256
    base: PositiveInt = 32
    steps: PositiveInt = 1600
    batch: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    margin: PositiveFloat = 0.01
    lr: PositiveFloat = 5e-4
    patience: PositiveInt = 6
    seed: Annotated[Several[NonNegativeInt], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _one_name_each(self) -> FingerprintSpec:
        for key in ("samples", "seed"):
            if len(getattr(self, key)) > 1 and f"{{{key}}}" not in self.tag:
                raise ValueError(f"one bank for each of several {key} needs {{{key}}} in its tag")
        return self


class Training(Frozen):
    """A training file.

    Attributes:
        name: of the folder of its runs.
        description: one sentence.
        repository: where entries go, relative to the file.
        licence: of the weights.
        data: data sets by name.
        detectors, fingerprints, attributors: what is trained.
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
    detectors: tuple[DetectorSpec, ...] = ()
    fingerprints: tuple[FingerprintSpec, ...] = ()
    attributors: tuple[AttributorSpec, ...] = ()
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accumulate: PositiveInt = 1
    checkpoint_minutes: PositiveFloat = 5.0
    workers: Annotated[int, Field(ge=0)] | None = None
    check_served: bool = True

    def called(self, data: str) -> str:
        """Return what cards call one of the data sets."""
        return "the miniature corpus" if self.data[data].resolved().layout == "miniature" else data

    @model_validator(mode="after")
    def _data_exist(self) -> Training:
        for key in ("detectors", "fingerprints", "attributors"):
            for item in getattr(self, key):
                for name in (item.data, getattr(item, "reference", "")):
                    if name and name not in self.data:
                        raise ValueError(f"{key} take data {name!r}, and data names {', '.join(self.data)}")
        return self

    @model_validator(mode="after")
    def _something_to_train(self) -> Training:
        if not (self.detectors or self.fingerprints or self.attributors):
            raise ValueError("nothing is to be trained: add `detectors`, `fingerprints` or `attributors`")
        return self
