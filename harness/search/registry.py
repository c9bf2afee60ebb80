"""All searchers by name, and how a suite's words become one."""

from __future__ import annotations

from harness.named import read_named
from harness.search.boundary import Boundary
from harness.search.boundary_answers import BoundaryAnswers
from harness.search.cw import CarliniWagner
from harness.search.dflare import Dflare
from harness.search.diffchaser import DiffChaser
from harness.search.difffinder_cw import DiffFinderCw
from harness.search.difffinder_pgd import DiffFinderPgd
from harness.search.searcher import Searcher

SEARCHERS: dict[str, type[Searcher]] = {
    kind.name: kind
    for kind in (
        DiffFinderCw,
        DiffFinderPgd,
        CarliniWagner,
        Dflare,
        DiffChaser,
        Boundary,
        BoundaryAnswers,
    )
}
"""Searchers by name; a new one is a file and its entry here."""


def parse_searcher(value: object) -> Searcher:
    """Read a searcher as suites write it, or its canonical id.

    Args:
        value: ``"boundary"``, ``"cw iterations=500"`` or ``{"cw": {"iterations": 500}}``.

    Raises:
        SuiteError: an unknown name or parameter, or a value out of range.
    """
    return read_named(value, SEARCHERS, "searcher", "difffinder_cw c=10")
