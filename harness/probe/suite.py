"""From what a probe learned to a suite that runs against the endpoint. Writes nothing, and never a secret."""

from __future__ import annotations

import re
from typing import Any

import yaml

from harness.backends import EndpointOptions
from harness.card import NAME_PATTERN
from harness.errors import CardError, problem
from harness.probe.probing import Probed

TASKS = ("detection", "classification")
"""Tasks of cards that a suite is written for."""


def suite_text(found: Probed) -> str:
    """Return a suite of one model and one task over the miniature corpus, with how sure its card is as comments.

    Several scores are taken for classes: the classifier is held against itself asked one image at a time. One score is
    taken for a detector's, fake at the high end.

    Raises:
        CardError: the endpoint carries a card of another task.
    """
    card = found.info.card
    if card is not None and card.task not in TASKS:
        do = "Copy a shipped suite that asks such models"
        what = f"suite for {found.asked.endpoint}"
        raise CardError(problem(what, "a detector or a classifier", f"task {card.task}", do))
    name = card.name if card is not None else _name(found)
    classes = bool(card.classes) if card is not None else found.scores > 1
    model: dict[str, Any] = {"name": name, "endpoint": found.asked.endpoint, "options": _options(found)}
    if card is None:
        model["card"] = _card(found, classes)
    if classes:
        model["variants"] = {"single": {"batch": 1}}
        task: dict[str, Any] = {"kind": "classification", "data": "miniature", "reference": name}
    else:
        task = {"kind": "detection", "data": "miniature"}
        if card is None:
            task["threshold"] = {"fixed": 0.5 if found.space == "probability" else 0.0}
    suite = {
        "name": f"probed_{re.sub('[^a-z0-9_]', '_', name)}"[:80],
        "description": "Written by harness probe.",
        "data": {"miniature": {"layout": "miniature", "sample": {"per_subset": 32}}},
        "models": [model],
        "tasks": [task],
    }
    return "\n".join(f"# {line}" for line in _comments(found)) + "\n" + yaml.safe_dump(suite, sort_keys=False)


def _card(found: Probed, classes: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "preprocess": found.preprocess.model_dump(mode="json", exclude_defaults=True),
        "input": found.input,
        "output": found.output,
        "score": found.space,
    }
    return said | ({"classes": found.scores} if classes else {"fake": "high"})


def _options(found: Probed) -> dict[str, Any]:
    """Return the options in brief; authentication is only ever the name of a variable."""
    usable = max(1, min(found.sizes.largest, EndpointOptions().batch))
    options = found.asked.options.model_copy(update={"batch": usable})
    return {"batch": usable, **options.model_dump(mode="json", exclude_defaults=True, exclude={"batch"})}


def _comments(found: Probed) -> list[str]:
    lines = [f"{found.info.platform or 'An endpoint'}, as a probe found it. What it is sure of:"]
    for what, item in found.findings.items():
        lines.append(f"  {what}: {item.value}; {item.confidence}: {item.evidence}")
    lines += [f"  CONTRADICTION: {item}" for item in found.contradictions]
    if found.info.card is None:
        lines.append(
            "Not to be known from outside: which end of the scores is fake, what a class is, what it learned from."
        )
    return [re.sub(r"\s+", " ", line) for line in lines]


def _name(found: Probed) -> str:
    """Return a name as cards have them, from the endpoint's."""
    parts = found.asked.endpoint.rstrip("/").split("/")
    last = parts[-1] if not (parts[-1].isdigit() and len(parts) > 4) else parts[-2]
    words = re.sub(r"[^a-z0-9_.]+", "_", last.lower().removesuffix(".onnx")).strip("._") or "model"
    words = re.sub(r"\.{2,}", ".", words)
    return words if re.match(NAME_PATTERN, words) else f"probed.{words}"
