"""What a suite can ask: one type a task. Values only, as in the suite that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    WithJsonSchema,
    model_validator,
)

from harness.frozen import Frozen
from harness.images.degrade import Harmonise, parse_degradation
from harness.names import did_you_mean
from harness.search.registry import parse_searcher
from harness.spec.difference import BaselineSpec, MethodsSpec, PairsSpec
from harness.spec.loading import LoadTask
from harness.spec.thresholds import CardThreshold, Threshold
from harness.spec.words import Name, Split, canonical

DegradationId = Annotated[
    str,
    canonical(lambda value: parse_degradation(value).id),
    WithJsonSchema(
        {
            "description": "`none`, `jpeg quality=65`, `{jpeg: {quality: 65}}`, or a list of them applied in order",
            "anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}],
        }
    ),
]
"""A degradation, normalised to its canonical id."""


Quantity = Literal["images", "contents"]
"""What a detector's card counts of its training: a key of ``training``."""


class DetectionTask(Frozen):
    """Real or fake, over subsets x degradations.

    Attributes:
        data: name of the data set.
        models: wildcards over the suite's models.
        subsets: wildcards over generators; their reals come along.
        split: the split that is tested.
        degradations: conditions; ``none`` is always among them.
        threshold: where decisions are cut.
        harmonise: re-encodes both classes alike, shown beside the raw figures.
        audit: whether containers, qualities and sizes are held against the labels.
        trained_on: a subset; the detectors trained on it alone get tables of their own.
        correlation: whether generators are clustered by how alike they look to detectors; needs detectors of one
            architecture that were each trained on another generator.
        arms: of an experiment, each a wildcard over detectors: trainings that differ in generator and seed alone.
        contrasts: pairs of arms, the first minus the second, training by training; two trainings are twins where the
            wildcards stand for the same in both names.
        learning_curve: what detectors are laid out by: the number of ``images`` that they were trained on, or of
            ``contents`` (classes, or photographs) that these show.
        lineage: generators that were fine-tuned from others, child to parent: are children nearest to their own
            parents? Empty shows who finds whose images where no children are known.
        gallery: whether fingerprints are shown, as pictures and in Fourier space.
    """

    kind: Literal["detection"] = "detection"
    name: Name = "detection"
    data: str
    models: tuple[str, ...] = ("*",)
    subsets: tuple[str, ...] = ("*",)
    split: Split = "test"
    degradations: tuple[DegradationId, ...] = ("none",)
    threshold: Threshold = CardThreshold()
    harmonise: Harmonise | None = None
    audit: bool = True
    trained_on: str | None = None
    correlation: bool = False
    arms: dict[str, str] = {}
    contrasts: tuple[tuple[str, str], ...] = ()
    learning_curve: Quantity | None = None
    lineage: dict[str, str] | None = None
    gallery: bool = False

    @model_validator(mode="after")
    def _one_clean_condition(self) -> DetectionTask:
        _check_conditions(self.degradations)
        if getattr(self.threshold, "split", None) == self.split:
            raise ValueError("a threshold must not be calibrated on the split that is tested")
        return self

    @model_validator(mode="after")
    def _contrasts_are_of_arms(self) -> DetectionTask:
        for name in (name for pair in self.contrasts for name in pair):
            if name not in self.arms:
                raise ValueError(f"a contrast names arm {name!r}. {did_you_mean(name, list(self.arms))}")
        return self

    @model_validator(mode="after")
    def _parents_are_no_children(self) -> DetectionTask:
        for child, parent in (self.lineage or {}).items():
            if parent in (self.lineage or {}):
                raise ValueError(f"{child!r} has the parent {parent!r}, which is a child itself; name a base")
        return self


class ClassificationTask(Frozen):
    """Which class, and whether a model decides as the one it was made from.

    Attributes:
        data: name of the data set; images without a target count for agreement only.
        models: wildcards over the suite's models, variants among them.
        subsets: wildcards over its subsets.
        split: the split that is tested.
        degradations: conditions; ``none`` is always among them.
        reference: wildcard of the models that others of the same architecture are held against; a variant is held
            against the model that it is a variant of.
    """

    kind: Literal["classification"]
    name: Name = "classification"
    data: str
    models: tuple[str, ...] = ("*",)
    subsets: tuple[str, ...] = ("*",)
    split: Split = "test"
    degradations: tuple[DegradationId, ...] = ("none",)
    reference: str = "*.tv_float"

    @model_validator(mode="after")
    def _one_clean_condition(self) -> ClassificationTask:
        _check_conditions(self.degradations)
        return self


SearcherId = Annotated[
    str,
    canonical(lambda value: parse_searcher(value).id),
    WithJsonSchema(
        {
            "description": "`boundary`, `cw iterations=500` or `{cw: {iterations: 500}}`",
            "anyOf": [{"type": "string"}, {"type": "object"}],
        }
    ),
]
"""A searcher with all its parameters, normalised to its canonical id."""


class PairSpec(Frozen):
    """Two models that are to disagree, and their roles.

    Attributes:
        white: model whose gradient is followed, or a wildcard.
        black: model that gives answers alone, or a wildcard; of wildcards, models of one architecture meet.
        gradient: the gradient entry asked, or a wildcard; ``WHITE.gradient`` where it is not given. A white model
            without gradients (int8) takes one that stands in for it, its float sibling's, say.
    """

    white: str
    black: str
    gradient: str | None = None


class SearchClaimSpec(Frozen):
    """A row of the table published with Diff-Finder.

    Attributes:
        black: the quantized model, as the suite names it.
        c, iterations: parameters of ``difffinder_cw``.
        images: seeds.
        psnr: in dB.
        ssim, success_rate: in 0..1.
        source: where it was published.
    """

    black: str
    c: PositiveFloat = 1.0
    iterations: PositiveInt
    images: PositiveInt
    psnr: float
    ssim: float = Field(ge=0, le=1)
    success_rate: float = Field(ge=0, le=1)
    source: str = ""


class DisagreementTask(Frozen):
    """Images near given ones that two models decide differently.

    Attributes:
        data: name of the data set.
        pairs: the models, with their roles.
        searchers: each searches from all seeds of each pair.
        subsets: wildcards over the data set's subsets.
        split: the split that seeds come from.
        seeds: images that both models decide alike, or alike and correctly.
        protocol: ``seed`` adds the table published with Diff-Finder, counted as it was there.
        claims: that table's rows.
    """

    kind: Literal["disagreement"]
    name: Name = "disagreement"
    data: str
    pairs: tuple[PairSpec, ...] = Field(default=(PairSpec(white="*.tv_float", black="*.tv_int8"),), min_length=1)
    searchers: tuple[SearcherId, ...] = Field(default=("boundary",), min_length=1)
    subsets: tuple[str, ...] = ("*",)
    split: Split = "test"
    seeds: Literal["agree", "agree_and_correct"] = "agree"
    protocol: Literal["discern", "seed"] = "discern"
    claims: tuple[SearchClaimSpec, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> DisagreementTask:
        if len(set(self.searchers)) != len(self.searchers):
            raise ValueError("the same searcher stands twice")
        return self


class AttributionTask(Frozen):
    """Which source an image comes from: one of the generators that an attributor knows, or `nature`.

    Attributes:
        data: name of the data set.
        models: wildcards over the suite's attributors; those whose names differ in ``_sN`` alone are trainings of one
            method.
        subsets: wildcards over its subsets; ``nature:X`` counts as ``nature``.
        split: the split that is tested.
        degradations: conditions; ``none`` is always among them.
        calibration: the split that the best of several methods is chosen on, and the threshold of what is unknown; None
            leaves both out.
        fpr: share of images of known sources that may be called unknown.
        methods, baselines: wildcards over methods; the best of the one are held against the best of the other.
        designs: design choices by generator (``{gan: {family: gan, up: transposed}}``), or ``miniature`` for those of
            the miniature corpora; the choice ``family`` groups the figures.
    """

    kind: Literal["attribution"]
    name: Name = "attribution"
    data: str
    models: tuple[str, ...] = ("*",)
    subsets: tuple[str, ...] = ("*",)
    split: Split = "test"
    degradations: tuple[DegradationId, ...] = ("none",)
    calibration: Literal["train", "val"] | None = "val"
    fpr: float = Field(default=0.05, gt=0, lt=1)
    methods: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    designs: Literal["miniature"] | dict[str, dict[str, str]] = {}

    @model_validator(mode="after")
    def _chosen_off_the_test(self) -> AttributionTask:
        _check_conditions(self.degradations)
        if self.calibration == self.split:
            raise ValueError("nothing must be chosen on the split that is tested")
        if bool(self.methods) != bool(self.baselines):
            raise ValueError("`methods` and `baselines` are held against each other: give both or neither")
        if self.methods and self.calibration is None:
            raise ValueError("the best of the methods is chosen on a `calibration` split: name one")
        return self


class GrayTask(Frozen):
    """What a network that was fitted to a constant gray leaves in its images; asks no model about any image.

    Attributes:
        history: file of its answers in the course of that training, relative to the suite file.
    """

    kind: Literal["gray"]
    name: Name = "gray"
    history: str


class DifferenceTask(Frozen):
    """Where two images differ: methods held against known changes, ranked by how well they mark them.

    Attributes:
        pairs: the images, with what changed.
        methods: what is compared.
        baseline: the method that the chosen one is held against; always asked.
        subsets: wildcards over kinds of change.
        split: the split that is tested.
        rank_by: the figure that ranks and chooses, over all conditions: ``iou`` of the mask, or ``agreement`` of the
            regions with the spots, where their number and places matter more than their outlines.
        calibration: the split that a method is chosen on; None chooses none.
        chosen_by: name of an earlier difference task whose choice is reported here.
        degradations: of the second image, as distractors.
    """

    kind: Literal["difference"]
    name: Name = "difference"
    pairs: PairsSpec
    methods: MethodsSpec = MethodsSpec()
    baseline: BaselineSpec = BaselineSpec()
    subsets: tuple[str, ...] = ("*",)
    split: Literal["val", "test"] = "test"
    rank_by: Literal["iou", "agreement"] = "iou"
    calibration: Literal["val"] | None = "val"
    chosen_by: str | None = None
    degradations: tuple[DegradationId, ...] = ("none",)

    @model_validator(mode="after")
    def _chosen_off_the_test(self) -> DifferenceTask:
        _check_conditions(self.degradations)
        if self.calibration == self.split:
            raise ValueError("nothing must be chosen on the split that is tested")
        if self.calibration and self.chosen_by:
            raise ValueError("a method is chosen here or by another task: `calibration: null` with `chosen_by`")
        return self


def _check_conditions(degradations: Sequence[str]) -> None:
    if len(set(degradations)) != len(degradations):
        raise ValueError("the same degradation stands twice")
    if "none" not in degradations:
        raise ValueError("`none` must be among the degradations: the others are read against it")


TAG = "task:"
"""Begins the tag of a task in pydantic's locations, where no key of a suite begins so."""


def _kind(value: Any) -> str:
    kind = value.get("kind", "detection") if isinstance(value, dict) else getattr(value, "kind", "detection")
    return f"{TAG}{kind}"


AskingTask = DetectionTask | ClassificationTask | DisagreementTask | AttributionTask | LoadTask
"""A task that asks models about images of the suite's data."""

TASKS: dict[str, type[AskingTask] | type[DifferenceTask] | type[GrayTask]] = {
    "detection": DetectionTask,
    "classification": ClassificationTask,
    "disagreement": DisagreementTask,
    "attribution": AttributionTask,
    "difference": DifferenceTask,
    "load": LoadTask,
    "gray": GrayTask,
}
"""Every task by its kind."""

TaskSpec = Annotated[
    Annotated[DetectionTask, Tag(TAG + "detection")]
    | Annotated[ClassificationTask, Tag(TAG + "classification")]
    | Annotated[DisagreementTask, Tag(TAG + "disagreement")]
    | Annotated[AttributionTask, Tag(TAG + "attribution")]
    | Annotated[DifferenceTask, Tag(TAG + "difference")]
    | Annotated[LoadTask, Tag(TAG + "load")]
    | Annotated[GrayTask, Tag(TAG + "gray")],
    Discriminator(_kind),
]
