"""What a suite's report shows beside the figures: notes and published figures. Values only; no file is opened."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, WithJsonSchema, model_validator

from harness.frozen import Frozen, Several
from harness.spec.tasks import DegradationId

Subsets = Annotated[
    Several[str],
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One subset or several."""


class ClaimSpec(Frozen):
    """A published figure that the run is held against.

    Attributes:
        model: ``MODEL/HEAD`` or a wildcard.
        trained_on: a subset that the detector was trained on alone. Several: the figure is the mean over detectors,
            each trained on one of them alone. None: of every detector that ``model`` means.
        subset: the tested generator.
        degradation: of the tested images.
        metric: what was published.
        value: the figure, as a fraction.
        source: where it was published.
    """

    model: str
    trained_on: Subsets = ()
    subset: str
    degradation: DegradationId = "none"
    metric: Literal["accuracy", "balanced_accuracy", "auroc", "average_precision"] = "accuracy"
    value: float = Field(ge=0, le=1)
    source: str = ""

    @model_validator(mode="after")
    def _a_mean_is_bootstrapped(self) -> ClaimSpec:
        if len(self.trained_on) > 1 and self.metric == "accuracy":
            raise ValueError("a mean over detectors has no accuracy; give balanced_accuracy: of as many fakes as reals")
        return self


NEEDED = {"trained_on": "trained_on", "degraded": "trained_on", "cross": "architecture", "in_domain": "architecture"}
"""The key that a kind of claim table can't do without; no other of them is taken."""


class ClaimTable(Frozen):
    """A published table in a CSV file: percentages, an empty cell where nothing was published.

    Attributes:
        file: its path, relative to the suite file and inside its folder.
        kind: what its rows and columns are. ``trained_on``: detectors trained on one subset, a row an
            ``architecture``, a column a tested generator. ``mean``: the same, each figure the mean over detectors, one
            trained on each of the columns' generators. ``degraded``: a row an ``architecture``, a column a degradation
            of test images of the subset trained on. ``cross``: one architecture, a row the subset ``trained_on``, a
            column a tested generator. ``in_domain``: one architecture, a row the subset ``trained_on`` and tested, one
            column.
        architecture: first part of the models' names; for ``cross`` and ``in_domain``.
        trained_on: the subset; for ``trained_on`` and ``degraded``.
        metric: what was published; accuracy over as many fakes as reals is balanced accuracy.
        source: where it was published.
    """

    file: str = Field(min_length=1)
    kind: Literal["trained_on", "mean", "degraded", "cross", "in_domain"]
    architecture: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    trained_on: str | None = None
    metric: Literal["balanced_accuracy", "auroc", "average_precision"] = "balanced_accuracy"
    source: str

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> ClaimTable:
        for key, value in (("architecture", self.architecture), ("trained_on", self.trained_on)):
            if key == NEEDED.get(self.kind) and value is None:
                raise ValueError(f"kind {self.kind} needs `{key}: ...`")
            if key != NEEDED.get(self.kind) and value is not None:
                raise ValueError(f"kind {self.kind} takes no `{key}`: the file says it")
        return self


class ReportSpec(Frozen):
    """What the report shows beside the figures.

    Attributes:
        notes: sentences that stand at its top.
        claims: published figures, shown beside the measured ones; a loaded suite has those of its tables here too.
        claim_tables: published tables, each in a file of its own.
        mistakes: worst mistakes shown as thumbnails; 0 for none (images that must not be copied).
    """

    notes: tuple[str, ...] = ()
    claims: tuple[ClaimSpec, ...] = ()
    claim_tables: tuple[ClaimTable, ...] = ()
    mistakes: NonNegativeInt = 12
