"""What a probe learned, as a report: findings with how sure they are, behaviour, sizes and latency."""

from __future__ import annotations

import numpy as np

from harness.probe.behaviour import ANSWERED, EMPTY, Difference
from harness.probe.probing import Probed
from harness.report.tree import Cell, Column, Pairs, Report, Section, Table

EQUAL = 1e-4
"""Difference of scores that rounding alone may make."""


def probe_report(found: Probed) -> Report:
    """Return the page."""
    notes = [f"{item}: correct the card, or export the model again" for item in found.contradictions]
    if found.repeats.flips:
        notes.append("the same request is decided differently when it is repeated")
    if found.batches is not None and (found.batches.flips or found.batches.largest > EQUAL):
        notes.append("an image's scores depend on the images that are asked beside it")
    notes += [
        f"{item.asked}: it gave an answer"
        for item in found.reactions
        if item.reason == ANSWERED and item.asked != EMPTY
    ]
    if not found.alive:
        notes.append("after requests that it should refuse, and large batches, it no longer answered as before")
    unsure = [what for what, item in found.findings.items() if item.confidence in ("low", "unknown")]
    if unsure:
        notes.append(f"not known for sure: {', '.join(unsure)}; ask whoever serves it")
    broken = "INVALID: a card that contradicts its model" if found.contradictions else None
    dead = None if found.alive else "INVALID: it does not survive bad requests or large batches"
    return Report(
        title=found.asked.endpoint,
        subtitle=found.info.platform,
        verdict=broken or dead or "VALID: it answers",
        notes=tuple(notes),
        sections=(_about(found), _input(found), _behaviour(found), _speed(found)),
    )


def _about(found: Probed) -> Section:
    info = found.info
    items = [(f"input {name}", f"{dtype} {list(shape)}") for name, (dtype, shape) in info.inputs.items()]
    items += [(f"output {name}", f"{dtype} {list(shape)}") for name, (dtype, shape) in info.outputs.items()]
    card = info.card
    items.append(("card", f"{card.name}: {card.summary}" if card is not None else "none"))
    if info.weights_sha256:
        items.append(("weights", info.weights_sha256))
    items.append(("protocol", found.asked.endpoint.partition(":")[0]))
    return Section("What it says of itself", (Pairs("probe_about", tuple(items)),))


def _input(found: Probed) -> Section:
    columns = (
        Column("what", "what"),
        Column("value", "value"),
        Column("confidence", "confidence"),
        Column("evidence", "evidence"),
    )
    rows: list[dict[str, Cell]] = [
        {"what": what, "value": item.value, "confidence": item.confidence, "evidence": item.evidence}
        for what, item in found.findings.items()
    ]
    return Section("What it takes and gives", (Table("probe_findings", "Findings", columns, tuple(rows)),))


def _behaviour(found: Probed) -> Section:
    items = [("the same request again", _difference(found.repeats))]
    together = "it takes one batch size alone" if found.batches is None else _difference(found.batches)
    items.append(("one by one against together", together))
    items.append(("an image of NaN", found.not_a_number or "its input holds none"))
    columns = (Column("asked", "asked"), Column("reason", "answer"), Column("detail", "what it said"))
    rows: list[dict[str, Cell]] = [
        {"asked": item.asked, "reason": item.reason, "detail": item.detail[:200]} for item in found.reactions
    ]
    table = Table("probe_reactions", "Requests that should be refused, or answered with nothing", columns, tuple(rows))
    return Section("How it behaves", (Pairs("probe_behaviour", tuple(items)), table))


def _speed(found: Probed) -> Section:
    sizes, seconds = found.sizes, found.seconds * 1000
    refused = f"; {sizes.refused[0]} were not answered: {sizes.refused[1]}" if sizes.refused else ""
    told = "none was answered"
    if len(seconds):
        median, ninth = np.quantile(seconds, [0.5, 0.9])
        told = f"median {median:.2f} ms, p90 {ninth:.2f} ms, over {len(seconds)} of {found.asked.requests} requests"
    items = (
        ("largest batch answered", f"{sizes.largest}{refused}"),
        ("most, as its configuration says", str(found.info.max_batch or "not said")),
        ("largest request", f"{sizes.bytes / 1e6:.2f} MB"),
        ("latency of one image", told),
    )
    return Section("What it can bear", (Pairs("probe_speed", items),))


def _difference(found: Difference) -> str:
    if not found.largest and not found.flips:
        return f"equal to the bit, {found.images} images"
    return f"scores differ by up to {found.largest:.3g}, {found.flips} of {found.images} decided otherwise"
