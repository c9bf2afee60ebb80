"""Where a task's decisions are cut, as suites write it. Values only: no threshold is computed here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from harness.frozen import Frozen


class CardThreshold(Frozen):
    """The threshold that the card brings from training."""

    kind: Literal["card"] = "card"


class FixedThreshold(Frozen):
    """One number for every head, on the oriented score."""

    kind: Literal["fixed"] = "fixed"
    value: float


class CalibratedThreshold(Frozen):
    """Best balanced accuracy on a split that is not tested, over the head's own training subsets."""

    kind: Literal["calibrated"] = "calibrated"
    split: Literal["train", "val"] = "val"


class AtFprThreshold(Frozen):
    """The smallest threshold whose false-positive rate on the split's reals is at most ``fpr``."""

    kind: Literal["at_fpr"] = "at_fpr"
    fpr: float = Field(gt=0, lt=1)
    split: Literal["train", "val"] = "val"


class OracleThreshold(Frozen):
    """Best balanced accuracy on the tested images themselves; printed only as oracle."""

    kind: Literal["oracle"] = "oracle"


def _threshold(value: Any) -> Any:
    """``card``, ``oracle``, ``{fixed: 0.5}``, ``{calibrated: {split: val}}``, ``{at_fpr: {fpr: 0.01, split: val}}``."""
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and len(value) == 1 and "kind" not in value:
        ((kind, body),) = value.items()
        if kind == "fixed":
            return {"kind": kind, "value": body}
        return {"kind": kind, **body} if isinstance(body, dict) else value
    return value


Threshold = Annotated[
    CardThreshold | FixedThreshold | CalibratedThreshold | AtFprThreshold | OracleThreshold,
    Field(discriminator="kind"),
    BeforeValidator(_threshold),
    WithJsonSchema(
        {
            "description": "card, oracle, {fixed: 0.5}, {calibrated: {split: val}}, {at_fpr: {fpr: 0.01, split: val}}",
            "anyOf": [
                {"enum": ["card", "oracle"]},
                {
                    "type": "object",
                    "properties": {"fixed": {"type": "number"}},
                    "required": ["fixed"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"calibrated": {"type": "object"}},
                    "required": ["calibrated"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"at_fpr": {"type": "object"}},
                    "required": ["at_fpr"],
                    "additionalProperties": False,
                },
            ],
        }
    ),
]
