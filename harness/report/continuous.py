"""A gate's outcomes and a run's figures as CI reads them: JUnit XML, github-action-benchmark. Judges nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from harness.comparison.change import POOLED, Change
from harness.gate import Outcome
from harness.plain import plain

BIGGER, SMALLER = "bigger", "smaller"
"""Which end of a benchmark's values is better: its tools are ``customBiggerIsBetter`` and ``customSmallerIsBetter``."""


def junit(outcomes: Sequence[Outcome], suite: str) -> str:
    """Return JUnit XML: one test case an expectation and figure.

    Args:
        outcomes: of a gate.
        suite: name of the test suite.
    """
    counts = {"tests": len(outcomes), "errors": 0}
    counts |= {
        name: sum(item.judged == word for item in outcomes) for name, word in (("failures", "failed"), ("skipped",) * 2)
    }
    root = ElementTree.Element("testsuites")
    within = ElementTree.SubElement(
        root, "testsuite", {"name": _xml(suite), **{name: str(count) for name, count in counts.items()}}
    )
    for item in outcomes:
        place = item.place
        name = f"{item.expected} [{'/'.join(filter(None, (place.subset, place.condition)))}]"
        case = ElementTree.SubElement(
            within, "testcase", {"classname": _xml(f"{place.task}.{place.model}"), "name": _xml(name), "time": "0"}
        )
        if item.judged == "failed":
            found = ElementTree.SubElement(
                case, "failure", {"message": _xml(item.why), "type": item.expected.partition(":")[0]}
            )
            found.text = _xml(f"{place}: {item.expected}: {item.why}")
        elif item.judged == "skipped":
            ElementTree.SubElement(case, "skipped", {"message": _xml(item.why)})
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(item.why)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def benchmarks(changes: Iterable[Change]) -> dict[str, str]:
    """Return a run's pooled figures as lists that github-action-benchmark reads, by which end of them is better.

    Shares are in per cent, times in milliseconds.
    """
    entries: dict[str, list[dict[str, Any]]] = {BIGGER: [], SMALLER: []}
    for change in changes:
        if change.place.subset == POOLED and change.figure != "agreement" and math.isfinite(change.after):
            end = BIGGER if change.kind == "share" else SMALLER
            unit, scale = {"share": ("%", 100), "latency": ("ms", 1000)}.get(change.kind, ("images", 1))
            name = f"{change.place}: {change.figure}"
            entries[end].append({"name": name, "unit": unit, "value": round(scale * change.after, 6)})
    return {end: json.dumps(items, indent=1, ensure_ascii=False) + "\n" for end, items in entries.items()}


def _xml(text: str) -> str:
    """Return text that XML 1.0 can hold; what it can't becomes U+FFFD."""
    return "".join(
        letter
        if letter in "\t\n" or "\x20" <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter > "\uffff"
        else "\ufffd"
        for letter in plain(text)
    )
