"""Published figures beside measured ones, laid out, one table a source. Judges none of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.claims import Checked
from harness.images.degrade import CLEAN
from harness.report.figures import SHORT
from harness.report.tree import Column, Section, Table, Text

VERDICTS = {None: "not measured here", True: "within reach", False: "measured lower"}


_INTRO = (
    "Published figures beside this run's. A figure is measured here where a detector of that name, trained on that"
    " generator, was tested on a generator of that name under that condition; images and thresholds may still differ."
)


def claim_sections(claims: Sequence[Checked], name: str, prefix: str) -> Iterator[Section]:
    """Lay out claims, those of sources of which nothing was measured apart, for looking up.

    Args:
        claims: beside what was measured; none gives no section.
        name: what names of blocks begin with.
        prefix: what headings begin with.
    """
    if not claims:
        return
    tables: dict[bool, list[Table]] = {True: [], False: []}
    for place, source in enumerate(dict.fromkeys(item.claim.source for item in claims), 1):
        said = [item for item in claims if item.claim.source == source]
        measured = sum(item.holds is not None for item in said)
        title = f"{source or 'No source given'}: {measured} of {len(said)} measured here"
        tables[measured > 0].append(_table(said, f"{name}_claims" if place == 1 else f"{name}_claims_{place}", title))
    none = Text(f"None of {len(claims)} published figures is about what was tested here.")
    yield Section(f"{prefix}Claims", tuple(tables[True]) or (none,), _INTRO)
    if tables[False]:
        yield Section(f"{prefix}Claims not measured here", tuple(tables[False]), detail=True)


def _table(claims: Sequence[Checked], name: str, title: str) -> Table:
    return Table(
        name,
        title,
        (
            Column("detector", "detector"),
            Column("trained_on", "trained on"),
            Column("generator", "tested on"),
            Column("condition", "condition"),
            Column("metric", "metric"),
            Column("claimed", "claimed", "percent"),
            Column("measured", "measured", "percent"),
            Column("holds", "verdict"),
        ),
        tuple(
            {
                "detector": item.detector,
                "trained_on": _trained_on(item.claim.trained_on),
                "generator": item.claim.subset,
                "condition": "clean" if item.claim.degradation == CLEAN else item.claim.degradation,
                "metric": SHORT[item.claim.metric],
                "claimed": item.claim.value,
                "measured": item.measured,
                "holds": VERDICTS[item.holds],
            }
            for item in claims
        ),
    )


def _trained_on(subsets: tuple[str, ...]) -> str:
    return f"each of {', '.join(subsets)}; mean" if len(subsets) > 1 else "".join(subsets)
