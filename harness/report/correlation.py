"""How alike generators look to detectors, laid out: a tree and two matrices in its order. Computes no figure."""

from __future__ import annotations

from harness.report.tree import Dendrogram, Matrix, Section, Text
from harness.tasks.correlation import FEWEST, Correlation

_INTRO = (
    "Two generators are alike where detectors that were trained on the one alone know the other's images, and the"
    " reverse: similarity is the mean of those two AUROCs on clean images, over {detectors} detectors, outlined where"
    " it is the AUROC in domain. Distance is 1 at an AUROC of 0.5 or below and 0 at 1; the tree is its average linkage,"
    " and both matrices stand in its order. {fit}"
)

_FIT = (
    "Cophenetic correlation: {:.3f}. At 1 the tree tells every distance; far below, pairs are nearer or farther than it"
    " shows."
)


def correlation_section(found: Correlation | None, name: str, prefix: str) -> Section:
    """Lay out a task's correlation of generators; in words where there is none."""
    title = f"{prefix}Generators alike"
    if found is None:
        needed = (
            f"Needs at least {FEWEST} tested generators, each with a detector that was trained on it alone, of"
            " architectures that have several such detectors."
        )
        return Section(title, (Text(needed),))
    tree = found.clustering
    alike = tree.cophenetic != tree.cophenetic
    fit = "All distances are alike: the tree says nothing." if alike else _FIT.format(tree.cophenetic)
    places = frozenset((i, i) for i in range(len(tree.order)))
    return Section(
        title,
        (
            Dendrogram(f"{name}_generators", "Generators by average linkage", tree.order, tree.merges),
            Matrix(
                f"{name}_generators_similarity",
                "Similarity: mean of the two cross AUROCs",
                tree.order,
                tree.order,
                found.similarity,
                places,
                diagonal_title="in domain: trained on that generator",
            ),
            Matrix(
                f"{name}_generators_correlation",
                "Pearson correlation of the generators' columns of AUROCs, one row a training generator",
                tree.order,
                tree.order,
                found.correlation,
                low=0.0,
            ),
        ),
        _INTRO.format(detectors=found.detectors, fit=fit),
    )
