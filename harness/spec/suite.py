"""The types of a suite file. Values only: nothing is opened, listed or run here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from harness.backends.base import EndpointOptions, Optimisation, Provider
from harness.backends.fleet import Addresses, model_of
from harness.card import NAME_PATTERN, Head
from harness.fingerprints.neighbours import Index
from harness.fingerprints.spaces import SpaceName
from harness.frozen import Frozen
from harness.images.preprocess import Preprocess
from harness.names import did_you_mean
from harness.spec.gate import GateSpec
from harness.spec.report import ReportSpec
from harness.spec.tasks import AskingTask, DifferenceTask, TaskSpec
from harness.spec.words import Engine, Name, Split

LAYOUTS = {
    "genimage": "<generator>/{train,val}/{ai,nature}, with the folder names of the GenImage downloads",
    "real_fake": "<set>/{0_real,1_fake} or <set>/{real,fake}",
    "imagenet": "n01440764/*, n01440764_*.JPEG, or the flat validation set beside a label file",
    "manifest": "a CSV or Parquet file with path, label, subset, and split, source and target where known",
    "found": "images that a disagreement run found, asked about as they are: `{found: RUN}`",
    "huggingface": "a data set of the `datasets` library; needs the extra `datasets`",
    "miniature": "built on this machine from photographs inside scikit-image and scikit-learn; needs no root; "
    "`root: other` is the same of other content, `root: attribution` has more generators of four families "
    "(`attribution_192`: its test split at 192 px), `root: lineage` has generators fine-tuned from others, "
    "`root: reference` is the real photographs that the generators learned from",
}
"""How a data set can lie on disk, in words."""

MINIATURES = ("", "other", "attribution", "attribution_192", "lineage", "reference")
"""Roots of the miniature: its corpus has none."""

CARDS: Mapping[str, tuple[str, ...]] = {
    "disagreement": ("classification",),
    "difference": ("gradcam",),
    "load": ("detection", "classification"),
}
"""Tasks of the cards that a task's wildcards mean, where they are not its own kind."""


def _layout(value: str) -> str:
    if value not in LAYOUTS:
        raise ValueError(f"layout {value!r} is not known. {did_you_mean(value, list(LAYOUTS))}")
    return value


class SampleSpec(Frozen):
    """How many images of each subset are used; chosen by a seeded hash of their paths."""

    per_subset: PositiveInt | None = None
    seed: int = 0


class Splits(Frozen):
    """Shares of a data set's sources that are trained on, validated with and tested on."""

    train: PositiveFloat
    val: PositiveFloat
    test: PositiveFloat

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if not math.isclose(total := self.train + self.val + self.test, 1.0):
            raise ValueError(f"splits must sum to 1, not {total:g}")
        return self


class DataSpec(Frozen):
    """Where images come from.

    Attributes:
        layout: how the folder is laid out; ``miniature`` needs no folder.
        root: folder, manifest file (``manifest``), data set name (``huggingface``) or run (``found``: its name, or
            its folder), or which miniature (one of MINIATURES); paths are relative to the suite
            file. ``{found: RUN}`` is short for layout and root. A manifest may be at a URL, its images beside it.
        sample: how many images of each subset.
        columns: names of the data set's columns, for ``manifest`` and ``huggingface``: ours to theirs.
        splits: shares of its sources, where the layout has no splits of its own; chosen by a hash of the source.
        otherwise: used in its place where ``root`` is empty.
    """

    layout: Annotated[str, AfterValidator(_layout), Field(json_schema_extra={"enum": sorted(LAYOUTS)})]
    root: str = ""
    sample: SampleSpec = SampleSpec()
    columns: dict[str, str] = {}
    splits: Splits | None = None
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
            known = ", ".join(MINIATURES[1:])
            raise ValueError(f"layout miniature needs no root, or one of {known}, not {self.root!r}")
        if self.layout == "miniature" and self.splits is not None:
            raise ValueError("layout miniature has splits of its own: leave `splits` out")
        if self.layout != "miniature" and not self.root and self.otherwise is None:
            raise ValueError(f"layout {self.layout} needs a root, or an `otherwise` for when the root is empty")
        return self

    def resolved(self) -> DataSpec:
        """Return this, or ``otherwise`` (recursively) where the root is empty."""
        if self.layout != "miniature" and not self.root and self.otherwise is not None:
            return self.otherwise.resolved()
        return self


class ReferenceSpec(Frozen):
    """Real images that artifacts are taken against, in one space.

    Attributes:
        data: name of the data set; only its real images count.
        split: which of its splits; none of its images may be tested.
        space: where neighbours are near: pixels, log magnitudes of the spectrum, or an embedding.
        embedder: name of the model that embeds; for ``embedding`` alone.
        index: ``exact`` search, or an ``approximate`` one whose recall is stated.
    """

    data: str
    split: Split = "train"
    space: SpaceName
    embedder: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    index: Index = "exact"

    @model_validator(mode="after")
    def _embedder_of_embeddings(self) -> ReferenceSpec:
        if (self.space == "embedding") != (self.embedder is not None):
            raise ValueError("space embedding needs an embedder, the others take none")
        return self

    @property
    def name(self) -> str:
        """What it is, in messages."""
        return f"reference {' '.join(filter(None, (self.space, self.embedder)))} of {self.data}/{self.split}"


class ThirdParty(Frozen):
    """What the suite says of a model that carries no card of ours.

    Attributes mean what they mean in :class:`harness.card.Card`; with ``classes``, their names or how many there are,
    it is a classifier.
    """

    preprocess: Preprocess
    input: str
    output: str
    score: Literal["logit", "probability", "statistic"] = "logit"
    fake: Literal["high", "low"] = "high"
    heads: tuple[Head, ...] = (Head(name="fake"),)
    classes: PositiveInt | tuple[str, ...] = ()


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
        endpoint: address; the repository's file, in process, where it is not given. A list of addresses is a fleet that
            serves one model: requests are spread over it, and go on while one of them answers.
        options: batch, timeouts, retries, authentication.
        variants: the same asked in other ways, as ``NAME@VARIANT``: how far do answers depend on that?
        card: needed where the endpoint does not describe itself.
    """

    name: str
    endpoint: Addresses | None = None
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

    @field_validator("endpoint")
    @classmethod
    def _one_model(cls, value: Addresses | None) -> Addresses | None:
        if isinstance(value, tuple):
            models = {model_of(address) for address in value}
            if not value or len(set(value)) < len(value):
                raise ValueError("a list of endpoints has each address once, and at least one")
            if "onnx" in models:
                raise ValueError("an onnx: endpoint is in this process, where one is enough; write it without a list")
            if len(models) > 1:
                raise ValueError(f"a list of endpoints is one model by one protocol, not {', '.join(sorted(models))}")
        return value

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address that it is asked at; none of the repository's."""
        return (self.endpoint,) if isinstance(self.endpoint, str) else self.endpoint or ()

    @model_validator(mode="after")
    def _name_or_wildcard(self) -> ModelSpec:
        wild = any(mark in self.name for mark in "*?[")
        if wild and self.endpoint:
            raise ValueError("a wildcard takes no endpoint; name the model")
        if self.endpoint and any(variant.served for variant in self.variants.values()):
            raise ValueError("a served variant is of a model in the repository, not of an endpoint")
        if not wild and not re.fullmatch(NAME_PATTERN, self.name):
            raise ValueError(f"model name {self.name!r} is not architecture.tag in lower case")
        return self


class Suite(Frozen):
    """A whole suite.

    Attributes:
        name: used in folder names.
        description: one or two sentences for the report.
        seed: of every resampling.
        repository: the model repository, relative to the suite file.
        engine: what answers cells: ``local`` (this process), ``ray`` (workers on this machine) or ``ray://HOST:PORT``.
        data: data sets by name; none where no task asks about images.
        models: the models; none where no task asks one.
        references: real images that the models' artifacts are taken against.
        tasks: what is asked.
        report: what the report shows.
        gate: what `harness gate` expects of a run beside its baseline: bounds by figure.
        resamples: bootstrap resamples behind an interval.
        max_failures: share of failed records above which the run is INVALID.
    """

    name: Name
    description: str = ""
    seed: int = 0
    repository: str = "../model_repository"
    engine: Engine = "local"
    data: dict[Name, DataSpec] = {}
    models: tuple[ModelSpec, ...] = ()
    references: tuple[ReferenceSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    report: ReportSpec = ReportSpec()
    gate: GateSpec = {}
    resamples: Annotated[int, Field(ge=100, le=20_000)] = 1000
    max_failures: NonNegativeFloat = 0.02

    @property
    def asks(self) -> frozenset[str]:
        """Tasks of the cards that its tasks can ask: what its wildcards mean."""
        return frozenset(card for task in self.tasks for card in CARDS.get(task.kind, (task.kind,)))

    @model_validator(mode="after")
    def _names_meet(self) -> Suite:
        for task in self.tasks:
            if not isinstance(task, AskingTask):
                continue
            if not self.models:
                raise ValueError(f"task {task.name!r} asks models, and the suite names none; list some under `models`")
            if task.data not in self.data:
                raise ValueError(f"task {task.name!r} asks for data {task.data!r}, the suite has {sorted(self.data)}")
        for reference in self.references:
            if reference.data not in self.data:
                raise ValueError(f"{reference.name}: the suite has data {sorted(self.data)}")
        if len(set(self.references)) != len(self.references):
            raise ValueError("the same reference stands twice")
        names = [task.name for task in self.tasks]
        for place, task in enumerate(self.tasks):
            if isinstance(task, DifferenceTask) and task.chosen_by is not None:
                earlier = [
                    item.name for item in self.tasks[:place] if isinstance(item, DifferenceTask) and item.calibration
                ]
                if task.chosen_by not in earlier:
                    hint = did_you_mean(task.chosen_by, earlier)
                    raise ValueError(
                        f"task {task.name!r}: chosen_by {task.chosen_by!r} chooses nothing before it. {hint}"
                    )
        if len(set(names)) != len(names):
            raise ValueError(f"two tasks share a name: {names}; give each its own")
        return self
