"""Lineage laid out: who finds whose images, whether children are nearest to their parents, and what tells it not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.fingerprints.bank import Bank
from harness.models import VARIANT
from harness.report.gallery import NOT_AT_HAND
from harness.report.tree import Block, Cell, Column, Dendrogram, Matrix, Section, Table, Text
from harness.stats import Estimate
from harness.tasks.lineage import MOST_EXACT, Child, Lineage, Naive, compare_directly

_INTRO = (
    "Each row is a detector, or fingerprint, of one generator, held against every generator's images: AUROC on clean"
    " images. Two generators are alike by the mean of their two cross AUROCs; of a child without a detector of its own,"
    " by the one AUROC that there is."
)

_TEST = (
    "Children are {ahead:.3f} [{low:.3f}, {high:.3f}] nearer to their own parents than to the mean of the other bases;"
    " {right} of {children} are nearest to their own. Of {count:,} {how} to name the parents among {bases} bases a"
    " share of {p:.4f} comes to as much: the one-sided p-value of names that mean nothing, which can't be below"
    " {least:.4f}."
)

_WARNING = (
    "Fingerprints held against each other directly do not test lineage: what all of them have in common by the network"
    " that painted them and the filter that took the residuals can outweigh what generators share. Each is turned so"
    " that its generator's images correlate positively; with the mean of the bank taken off, unrelated ones correlate"
    " at about {chance:.2f}."
)


def lineage_sections(found: Sequence[Lineage], banks: Mapping[str, Bank], name: str, prefix: str) -> Iterator[Section]:
    """Lay out a task's lineages, one section an architecture or bank; in words where there is none.

    Args:
        found: the lineages.
        banks: fingerprints at hand, by model.
        name, prefix: of the task, for names of blocks and headings.
    """
    if not found:
        needed = "Needs an architecture, or a bank, with detectors of several tested generators, each of one alone."
        yield Section(f"{prefix}Lineage", (Text(needed),))
    for item in found:
        label = f"{name}_lineage_{item.name.replace(VARIANT, '_')}"
        blocks = tuple(_blocks(item, banks, label))
        yield Section(f"{prefix}Lineage by {item.name}", blocks, _INTRO)


def _blocks(found: Lineage, banks: Mapping[str, Bank], name: str) -> Iterator[Block]:
    bank = banks.get(found.model or "")
    naive = compare_directly(bank) if bank else None
    if found.children:
        yield Text(_verdict(found))
        yield _children(found, naive, name)
    if found.untested:
        yield Text(
            f"Not tested: {', '.join(found.untested)}, for want of figures, or of a detector of the parent and of"
            " another base."
        )
    own = frozenset((i, i) for i in range(len(found.rows)))
    title = "Cross-detection: AUROC of each generator's detector on each generator's images"
    yield Matrix(name, title, found.rows, found.columns, found.matrix, own, "trained on", "tested on")
    if found.clustering:
        tree = found.clustering
        title = "Generators by average linkage: 0 where each knows the other's images, 1 at chance"
        yield Dendrogram(f"{name}_tree", title, tree.order, tree.merges)
    if naive is None:
        yield Text(f"{NOT_AT_HAND} {found.name}. They are not held against each other directly.")
        return
    yield Text(_WARNING.format(chance=-1 / max(1, len(naive.names) - 1)))
    yield _direct(naive, found, centred=False, name=f"{name}_direct")
    yield _direct(naive, found, centred=True, name=f"{name}_direct_centred")


def _verdict(found: Lineage) -> str:
    assert found.ahead is not None
    return _TEST.format(
        ahead=found.ahead.value,
        low=found.ahead.low,
        high=found.ahead.high,
        right=sum(child.rank == 1 for child in found.children),
        children=len(found.children),
        count=found.relabellings,
        how="drawn ways" if found.relabellings == MOST_EXACT else "ways",
        bases=len(found.bases),
        p=found.p,
        least=1 / found.relabellings,
    )


NEAREST = 3
"""Bases named for each child."""


def _children(found: Lineage, naive: Naive | None, name: str) -> Table:
    direct = [
        Column("direct", "nearest directly"),
        Column("centred", "and without the bank's mean"),
    ]
    return Table(
        f"{name}_children",
        "Children, and the bases that they are nearest to",
        (
            Column("child", "child"),
            Column("parent", "parent"),
            Column("rank", "rank of its parent", "int"),
            Column("similarity", "similarity to it", "estimate"),
            Column("ahead", "ahead of the other bases' mean", "estimate"),
            Column("ranking", "nearest bases"),
            *(direct if naive else []),
        ),
        tuple(_child(child, found, naive) for child in found.children),
    )


def _child(child: Child, found: Lineage, naive: Naive | None) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "child": child.name,
        "parent": child.parent,
        "rank": child.rank,
        "similarity": dict(child.ranking)[child.parent],
        "ahead": child.ahead,
        "ranking": ", ".join(f"{base} {figure.value:.3f}" for base, figure in child.ranking[:NEAREST]),
    }
    if naive:
        row["direct"] = naive.nearest(child.name, found.bases, centred=False)
        row["centred"] = naive.nearest(child.name, found.bases, centred=True)
    return row


def _direct(naive: Naive, found: Lineage, centred: bool, name: str) -> Matrix:
    order = [*(row for row in found.rows if row in naive.names), *(row for row in naive.names if row not in found.rows)]
    place = [naive.names.index(row) for row in order]
    table = naive.centred if centred else naive.plain
    title = "Pearson correlation of the fingerprints themselves" + (", mean of the bank taken off" if centred else "")
    return Matrix(
        name,
        title,
        tuple(order),
        tuple(order),
        tuple(tuple(Estimate.bare(table[a, b], naive.values) for b in place) for a in place),
        low=0.0,
    )
