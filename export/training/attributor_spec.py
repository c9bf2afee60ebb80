"""What a training file says of attributors. Values only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from export.attributors.attributor import Recipe
from export.detectors.architecture import Scale
from export.training.overrides import check_overrides
from harness.fingerprints.neighbours import Index
from harness.frozen import Frozen, Several
from harness.spec.words import Split


class AttributorSpec(Frozen):
    """Attributors of one or more methods, trained alike.

    Attributes:
        method: wildcard over the methods, or several.
        scale: as published, or the miniature's.
        data: name of the data set; all its generators and its real images are the sources.
        reference: name of the data set whose real training images artifacts are taken against.
        index: how neighbours are searched, as the suites' references must say too.
        split: whose images train.
        validation: the split that says when to stop; never the one that suites test.
        leave_out: generators that are not shown, wildcards; suites ask what is made of them (open set).
        samples: at most so many images of each source, evenly of its subsets, by a hash; the same ones for every seed.
        side: of the square that is cut from images, in place of the method's, in pixels.
        recipe: what differs from the method's own, where it takes steps.
        seed: of weights and order, or several: one attributor each.
        tag: last part of the entries' names; ``{seed}`` stands for what it says.
    """

    method: Annotated[Several[str], Field(min_length=1)] = ("*",)
    scale: Scale = "full"
    data: str
    reference: str = ""
    index: Index = "exact"
    split: Split = "train"
    validation: Literal["train", "val"] = "val"
    leave_out: Several[str] = ()
    samples: PositiveInt | None = None
    side: PositiveInt | None = None
    recipe: Annotated[dict[str, Any], AfterValidator(check_overrides(Recipe, "an attributor's recipe", epochs=1))] = {}
    seed: Annotated[Several[NonNegativeInt], Field(min_length=1)] = (0,)
    tag: str = Field(pattern=r"^([a-z0-9_]|\{seed\})+$")

    @model_validator(mode="after")
    def _apart(self) -> AttributorSpec:
        if self.validation == self.split:
            raise ValueError("validation images must not be trained on: take another split")
        if len(self.seed) > 1 and "{seed}" not in self.tag:
            raise ValueError("one attributor for each seed needs {seed} in its tag")
        return self
