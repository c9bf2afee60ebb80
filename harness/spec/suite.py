"""The types of a suite file. Values only: nothing is opened, listed or run here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from harness.backends.base import EndpointOptions, Optimisation, Provider
from harness.card import NAME_PATTERN, Head
from harness.frozen import Frozen
from harness.images.preprocess import Preprocess
from harness.names import did_you_mean
from harness.spec.report import ReportSpec
from harness.spec.tasks import Name, TaskSpec

LAYOUTS = {
    "genimage": "<generator>/{train,val}/{ai,nature}, with the folder names of the GenImage downloads",
    "real_fake": "<set>/{0_real,1_fake} or <set>/{real,fake}",
    "imagenet": "n01440764/*, n01440764_*.JPEG, or the flat validation set beside a label file",
    "manifest": "a CSV or Parquet file with path, label, subset, and split, source and target where known",
    "found": "images that a disagreement run found, asked about as they are: `{found: RUN}`",
    "huggingface": "a data set of the `datasets` library; needs the extra `datasets`",
    "miniature": "built on this machine from photographs inside scikit-image and scikit-learn; needs no root; "
    "`root: other` is the same of other content",
}
"""How a data set can lie on disk, in words."""

MINIATURES = ("", "other")
"""Roots of the miniature: its corpus, and the one of other content."""


def _layout(value: str) -> str:
    if value not in LAYOUTS:
        raise ValueError(f"layout {value!r} is not known. {did_you_mean(value, list(LAYOUTS))}")
    return value


class SampleSpec(Frozen):
    """How many images of each subset are used; chosen by a seeded hash of their paths."""

    per_subset: PositiveInt | None = None
    seed: int = 0


class DataSpec(Frozen):
    """Where images come from.

    Attributes:
        layout: how the folder is laid out; ``miniature`` needs no folder.
        root: folder, manifest file (``manifest``), data set name (``huggingface``) or run (``found``: its name, or
            its folder), or which miniature (``other``; the corpus itself needs none); paths are relative to the suite
            file. ``{found: RUN}`` is short for layout and root.
        sample: how many images of each subset.
        columns: names of the data set's columns, for ``manifest`` and ``huggingface``: ours to theirs.
        otherwise: used in its place where ``root`` is empty.
    """

    layout: Annotated[str, AfterValidator(_layout), Field(json_schema_extra={"enum": sorted(LAYOUTS)})]
    root: str = ""
    sample: SampleSpec = SampleSpec()
    columns: dict[str, str] = {}
    otherwise: DataSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_run(cls, value: Any) -> Any:
        if isinstance(value, dict) and "found" in value and "layout" not in value:
            rest = {key: item for key, item in value.items() if key != "found"}
            return {"layout": "found", "root": value["found"], **rest}
        return value

    @model_validator(mode="after")
    def _has_a_place(self) -> DataSpec:
        if self.layout == "miniature" and self.root not in MINIATURES:
            raise ValueError(f"layout miniature needs no root, or `root: other`, not {self.root!r}")
        if self.layout != "miniature" and not self.root and self.otherwise is None:
            raise ValueError(f"layout {self.layout} needs a root, or an `otherwise` for when the root is empty")
        return self

    def resolved(self) -> DataSpec:
        """Return this, or ``otherwise`` (recursively) where the root is empty."""
        if self.layout != "miniature" and not self.root and self.otherwise is not None:
            return self.otherwise.resolved()
        return self


class ThirdParty(Frozen):
    """What the suite says of a model that carries no card of ours.

    Attributes mean what they mean in :class:`harness.card.Card`.
    """

    preprocess: Preprocess
    input: str
    output: str
    score: Literal["logit", "probability", "statistic"] = "logit"
    fake: Literal["high", "low"] = "high"
    heads: tuple[Head, ...] = (Head(name="fake"),)


class VariantSpec(Frozen):
    """The same model asked in another way; what is not given stays as the model has it.

    Attributes:
        batch: images per request.
        optimisation: of the graph, in process.
        provider: of ONNX Runtime, in process.
        served: ask it on the Triton of this run.
    """

    batch: PositiveInt | None = None
    optimisation: Optimisation | None = None
    provider: Provider | None = None
    served: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> VariantSpec:
        if self.served and (self.optimisation or self.provider):
            raise ValueError("a served variant takes no optimisation and no provider: the server decides")
        return self


class ModelSpec(Frozen):
    """One model, or all that a wildcard finds in the repository.

    Attributes:
        name: ``dif.miniature`` or a wildcard (``dif.*``); a wildcard takes no endpoint.
        endpoint: address; the repository's file, in process, where it is not given.
        options: batch, timeouts, retries, authentication.
        variants: the same asked in other ways, as ``NAME@VARIANT``: how far do answers depend on that?
        card: needed where the endpoint does not describe itself.
    """

    name: str
    endpoint: str | None = None
    options: EndpointOptions = EndpointOptions()
    variants: dict[Name, VariantSpec] = {}
    card: ThirdParty | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say that a bare name will do."""
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _name_or_wildcard(self) -> ModelSpec:
        wild = any(mark in self.name for mark in "*?[")
        if wild and self.endpoint:
            raise ValueError("a wildcard takes no endpoint; name the model")
        if self.endpoint and any(variant.served for variant in self.variants.values()):
            raise ValueError("a served variant is of a model in the repository, not of an endpoint")
        if not wild and not re.match(NAME_PATTERN, self.name):
            raise ValueError(f"model name {self.name!r} is not architecture.tag in lower case")
        return self


class Suite(Frozen):
    """A whole suite.

    Attributes:
        name: used in folder names.
        description: one or two sentences for the report.
        seed: of every resampling.
        repository: the model repository, relative to the suite file.
        data: data sets by name.
        models: the models.
        tasks: what is asked.
        report: what the report shows.
        resamples: bootstrap resamples behind an interval.
        max_failures: share of failed records above which the run is INVALID.
    """

    name: Name
    description: str = ""
    seed: int = 0
    repository: str = "../model_repository"
    data: dict[Name, DataSpec] = Field(min_length=1)
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    report: ReportSpec = ReportSpec()
    resamples: Annotated[int, Field(ge=100, le=20_000)] = 1000
    max_failures: NonNegativeFloat = 0.02

    @model_validator(mode="after")
    def _names_meet(self) -> Suite:
        for task in self.tasks:
            if task.data not in self.data:
                raise ValueError(f"task {task.name!r} asks for data {task.data!r}, the suite has {sorted(self.data)}")
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks share a name: {names}; give each its own")
        return self
