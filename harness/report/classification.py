"""The report of a classification task: which figures stand where, and in what words. Computes none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.images.degrade import CLEAN
from harness.models import VARIANT
from harness.report.tree import Block, Cell, Column, Curves, Section, Sheet, Table, Tile
from harness.tasks.classification import MOST_FLIPS, Classification, PairFigures


def classification_sections(found: Classification, tiles: Sequence[Tile], many: bool) -> Iterator[Section]:
    """Lay out one task.

    Args:
        found: its figures.
        tiles: disagreements as pictures.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    name = found.task.name
    prefix = f"{name}: " if many else ""
    yield Section(
        f"{prefix}Leaderboard",
        (_leaderboard(found),),
        "Clean images, best top-1 first; models that McNemar's test can't tell apart (Holm, 5 %) share a rank. Rates"
        " have 95 % Wilson intervals, other figures bootstrap intervals that resample source images.",
    )
    clean = [row for row in found.pairs if row.condition == CLEAN]
    made = [row for row in clean if not row.variant]
    if made:
        table = _pairs(made, f"{name}_pairs", "Models and their references")
        yield Section(f"{prefix}Against the model it was made from", (table,), f"Clean images. {_FLIPS}")
    variants = [row for row in clean if row.variant]
    if variants:
        table = _pairs(variants, f"{name}_variants", "Models and their variants")
        intro = (
            "Clean images, one model asked in two ways. Whatever differs here is the serving's doing, and the floor"
            " under every comparison of models."
        )
        yield Section(f"{prefix}Serving sensitivity", (table,), intro if made else f"{intro} {_FLIPS}")
    if len(found.conditions) > 1:
        yield Section(f"{prefix}Degradations", tuple(_curves(found)), detail=True)
    if tiles:
        title = "Clean images that a pair decides differently, negative flips first"
        yield Section(f"{prefix}Disagreements", (Sheet(f"{name}_flips", title, tuple(tiles)),), detail=True)
    yield Section(
        f"{prefix}All figures",
        (_figures(found), _pairs(found.pairs, f"{name}_all_pairs", "Pairs under every condition"), _flips(found)),
        detail=True,
    )


_FLIPS = (
    "Agreement is the share of images that both decide alike. A negative flip is an image that the reference decides"
    " rightly and the other does not, a positive flip the reverse; their difference is the change of top-1, in"
    " percentage points. KL is the mean divergence from the reference's probabilities. p is McNemar's, that both are"
    " equally often right, Holm-adjusted over the pairs of one condition, variants apart."
)


def _leaderboard(found: Classification) -> Table:
    columns = (
        Column("rank", "rank", "int"),
        Column("model", "model"),
        Column("top1", "top-1", "percent", "high"),
        Column("top5", "top-5", "percent", "high"),
        Column("nll", "NLL, nats", "float", "low"),
        Column("ece", "ECE", "percent", "low"),
        Column("images", "images", "int"),
        Column("failed", "failed", "int"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "rank": found.ranks.get(row.model),
            "model": row.model,
            "images": row.images,
            "failed": row.failed,
            **row.estimates,
        }
        for row in found.of(CLEAN)
        if VARIANT not in row.model
    )
    return Table(f"{found.task.name}_leaderboard", "Leaderboard", columns, rows)


def _pairs(pairs: Sequence[PairFigures], name: str, title: str) -> Table:
    several = len({row.condition for row in pairs}) > 1
    columns = (
        Column("candidate", "model"),
        Column("reference", "held against"),
        *((Column("condition", "condition"),) if several else ()),
        Column("agreement", "agreement", "percent", None if several else "high"),
        Column("negative_flips", "negative flips", "percent", None if several else "low"),
        Column("positive_flips", "positive flips", "percent"),
        Column("top1_change", "top-1 change", "percent"),
        Column("p", "p", "float"),
        Column("kl", "KL, nats", "float", None if several else "low"),
        Column("largest", "largest difference of a score", "float"),
        Column("images", "images", "int"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "candidate": row.candidate,
            "reference": row.reference,
            "condition": row.condition,
            "p": row.p,
            "largest": row.largest,
            "images": row.images,
            **row.estimates,
        }
        for row in pairs
    )
    return Table(name, title, columns, rows)


def _curves(found: Classification) -> Iterator[Block]:
    figures = {(row.model, row.condition): row for row in found.models}
    names = [row.model for row in found.of(CLEAN) if VARIANT not in row.model]
    yield Curves(
        f"{found.task.name}_top1",
        "Top-1 accuracy",
        tuple(found.conditions),
        {name: tuple(figures[name, condition].estimates["top1"] for condition in found.conditions) for name in names},
        y_title="top-1",
        x_title="condition",
        kind="percent",
        chance=None,
    )
    pairs = {(row.candidate, row.condition): row for row in found.pairs if not row.variant}
    candidates = list(dict.fromkeys(name for name, _ in pairs))
    if candidates:
        yield Curves(
            f"{found.task.name}_agreement",
            "Agreement with the model it was made from",
            tuple(found.conditions),
            {
                name: tuple(pairs[name, condition].estimates["agreement"] for condition in found.conditions)
                for name in candidates
            },
            y_title="agreement",
            x_title="condition",
            kind="percent",
            chance=None,
        )


def _figures(found: Classification) -> Table:
    columns = (
        Column("model", "model"),
        Column("condition", "condition"),
        Column("top1", "top-1", "percent"),
        Column("top5", "top-5", "percent"),
        Column("nll", "NLL, nats", "float"),
        Column("ece", "ECE", "percent"),
        Column("images", "images", "int"),
        Column("failed", "failed", "int"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "model": row.model,
            "condition": row.condition,
            "images": row.images,
            "failed": row.failed,
            **row.estimates,
        }
        for row in found.models
    )
    return Table(f"{found.task.name}_figures", "Models under every condition", columns, rows)


def _flips(found: Classification) -> Table:
    columns = (
        Column("candidate", "model"),
        Column("reference", "held against"),
        Column("sample", "image"),
        Column("target", "class", "int"),
        Column("reference_class", "reference says", "int"),
        Column("candidate_class", "model says", "int"),
        Column("kl", "KL, nats", "float"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "candidate": row.candidate,
            "reference": row.reference,
            "sample": flip.sample,
            "target": flip.target if flip.target >= 0 else None,
            "reference_class": flip.reference,
            "candidate_class": flip.candidate,
            "kl": flip.kl,
        }
        for row in found.pairs
        if row.condition == CLEAN
        for flip in row.flips
    )
    title = f"Clean images that a pair decides differently, at most {MOST_FLIPS} a pair"
    return Table(f"{found.task.name}_disagreements", title, columns, rows)
