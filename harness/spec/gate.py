"""What a gate expects of a run, as suites and the command line write it: ``accuracy: -0.5pt``. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from harness.errors import SuiteError, problem
from harness.frozen import Frozen
from harness.names import did_you_mean

Kind = Literal["share", "level", "count", "latency"]
"""What a figure is: a share that may fall by so much, one that may not be lower than so much, a number of images (or
their share) that may not be larger than so much, or a time that may rise by so much."""

Unit = Literal["pt", "%", ""]
"""Behind a number: points (hundredths of a share), per cent, or nothing."""

FIGURES: Mapping[str, Kind] = {
    "accuracy": "share",
    "balanced_accuracy": "share",
    "auroc": "share",
    "top1": "share",
    "agreement": "level",
    "flips": "count",
    "failures": "count",
    "median": "latency",
    "p90": "latency",
    "p99": "latency",
    "p99.9": "latency",
}
"""Every figure that two runs can differ in."""

PER_SUBSET = " per subset"
"""Behind a figure: each subset by itself, not all of a condition's images together."""


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a bound: ``sign`` number ``unit``, the number at most ``most``."""

    sign: str
    unit: Unit
    most: float
    example: str


_FORMS: Mapping[Kind, tuple[_Form, ...]] = {
    "share": (_Form("-", "pt", 100, "-0.5pt"), _Form("-", "", 1, "-0.01")),
    "level": (_Form("", "%", 100, "99%"),),
    "count": (_Form("", "", 1e9, "0"), _Form("", "%", 100, "0.5%")),
    "latency": (_Form("+", "%", 1e4, "+10%"),),
}

_BOUND = re.compile(r"([+-]?)(\d{1,15}(?:\.\d{1,15})?)(pt|%|)", re.ASCII)


class Expectation(Frozen):
    """One line of a gate; ``str`` of it reads back as the same.

    Attributes:
        figure: one of FIGURES.
        per_subset: whether each subset is judged by itself.
        bound: the number as it was written, without its sign.
        unit: behind it.
    """

    figure: str
    per_subset: bool = False
    bound: float
    unit: Unit = ""

    @property
    def kind(self) -> Kind:
        """What its figure is."""
        return FIGURES[self.figure]

    @property
    def limit(self) -> float:
        """The bound as a share, a ratio less one, or a number of images."""
        return self.bound / 100 if self.unit else self.bound

    @property
    def key(self) -> str:
        """The figure as it stands before the colon."""
        return self.figure + (PER_SUBSET if self.per_subset else "")

    @property
    def said(self) -> str:
        """The bound as it stands behind the colon."""
        return f"{_FORMS[self.kind][0].sign}{_plain(self.bound)}{self.unit}"

    def __str__(self) -> str:
        return f"{self.key}: {self.said}"


def parse_expectation(text: str) -> Expectation:
    """Read ``FIGURE: BOUND`` or ``FIGURE per subset: BOUND``.

    Raises:
        SuiteError: an unknown figure, or a bound that does not fit it.
    """
    key, colon, bound = text.partition(":")
    if not colon:
        raise SuiteError(problem(f"gate {text!r}", "FIGURE: BOUND", text, "Write e.g. accuracy: -0.5pt"))
    return _read(key.strip(), bound.strip())


def parse_gate(gate: Mapping[str, str], more: Iterable[str] = ()) -> tuple[Expectation, ...]:
    """Return a suite's expectations and those that are laid over them: the last one of a figure holds.

    Raises:
        SuiteError: one that can't be read.
    """
    read = [*(_read(key, bound) for key, bound in gate.items()), *map(parse_expectation, more)]
    return tuple({item.key: item for item in read}.values())


def _read(key: str, bound: str) -> Expectation:
    figure = key.removesuffix(PER_SUBSET)
    if figure not in FIGURES:
        raise SuiteError(problem("gate", "a figure", repr(figure), did_you_mean(figure, list(FIGURES))))
    forms = _FORMS[FIGURES[figure]]
    match = _BOUND.fullmatch(bound)
    sign, number, unit = match.groups() if match else ("", "nan", "")
    fitting = [form for form in forms if (form.sign, form.unit) == (sign, unit) and float(number) <= form.most]
    whole = FIGURES[figure] != "count" or unit or "." not in number
    if not fitting or not whole:
        examples = " or ".join(f"{key}: {form.example}" for form in forms)
        raise SuiteError(problem(f"gate {key}", "a bound that fits", repr(bound), f"Write e.g. {examples}"))
    return Expectation(figure=figure, per_subset=key != figure, bound=float(number), unit=fitting[0].unit)


def _plain(number: float) -> str:
    """Return a number without an exponent, so that it reads back as itself."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _normalised(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    said = {str(key): _plain(item) if isinstance(item, float) else str(item) for key, item in value.items()}
    try:
        return {item.key: item.said for item in (_read(key, bound) for key, bound in said.items())}
    except SuiteError as error:
        raise ValueError(str(error)) from error


GateSpec = Annotated[
    dict[str, str],
    BeforeValidator(_normalised),
    WithJsonSchema(
        {
            "description": "what `harness gate` expects of a run beside its baseline: {accuracy: -0.5pt, flips: 0}",
            "type": "object",
            "propertyNames": {"enum": [key for name in FIGURES for key in (name, name + PER_SUBSET)]},
            "additionalProperties": {"type": ["string", "number"]},
        }
    ),
]
"""Bounds by figure, as a suite's key ``gate`` has them; read by :func:`parse_gate`."""
