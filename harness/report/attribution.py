"""The report of an attribution task: which figures stand where, and in what words. Computes none of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from harness.attributors import FAMILY
from harness.images.degrade import CLEAN
from harness.models import VARIANT
from harness.report.tree import (
    Block,
    Cell,
    Column,
    Curves,
    Dendrogram,
    Matrix,
    Scatter,
    Section,
    Sheet,
    Table,
    Text,
    Tile,
)
from harness.stats import Estimate
from harness.stats.paired import ALPHA
from harness.tasks.attribution import MARGIN, Against, Attribution, Method
from harness.tasks.designs import Grouping
from harness.tasks.plane import Points
from harness.tasks.told import ACCURACY, BALANCED, FAMILIES, family_of, recall_of


def attribution_sections(
    found: Attribution, earlier: Sequence[Attribution], plane: Points, tiles: Sequence[Tile], many: bool
) -> Iterator[Section]:
    """Lay out one task.

    Args:
        found: its figures.
        earlier: the suite's attribution tasks before it; their accuracies are shown beside its own.
        plane: answers of one training as points.
        tiles: images, their nearest real ones and their artifacts.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    name = found.task.name
    prefix = f"{name}: " if many else ""
    yield Section(f"{prefix}Leaderboard", (_leaderboard(found),), _LEADERBOARD)
    if found.against:
        yield Section(
            f"{prefix}Best method against best baseline",
            (Text(verdict(found.against)), _parts(found.against, name)),
            "Both were chosen by their accuracy on the calibration split, never on the tested images, and are held"
            " against each other on the same images. Differences are the method's accuracy minus the baseline's.",
        )
    shown = {found.against.method, found.against.baseline} if found.against else {found.methods[0].name}
    if any((CLEAN, FAMILIES) in item.estimates for item in found.methods):
        yield Section(f"{prefix}Families", (_families(found),), _FAMILIES)
    best, others = _parted(found.methods, shown)
    yield Section(f"{prefix}Confusion", tuple(_confusion(item, name) for item in best), _CONFUSION)
    if found.open_sets:
        yield Section(f"{prefix}Unseen generators", (_open_sets(found),), _OPEN)
    if found.groupings:
        yield Section(f"{prefix}Sources by their answers", tuple(_groups(found, shown)), _GROUPS)
    if plane:
        title = f"Clean test images as {found.pictured} answers"
        yield Section(f"{prefix}Answers in a plane", (Scatter(f"{name}_plane", title, plane),), _PLANE)
    if tiles:
        sheet = Sheet(f"{name}_artifacts", "Image, nearest real image, artifact", tuple(tiles))
        yield Section(f"{prefix}Artifacts", (sheet,), _ARTIFACTS)
    if len(found.task.degradations) > 1:
        yield Section(f"{prefix}Degradations", (_curves(found),), detail=True)
    if earlier:
        yield Section(f"{prefix}Beside other tasks", (_beside(found, earlier),), _BESIDE)
    details: tuple[Block, ...] = (_recalls(found), *(_confusion(item, name) for item in others), *_trees(found, shown))
    yield Section(f"{prefix}Every source", details, detail=True)


_LEADERBOARD = (
    "Share of clean images attributed to their source, averaged over a method's trainings; images of sources that a"
    " method never saw are left out. Intervals are 95 %: they resample source images, and of the trainings as many as"
    " there are but one; of one training, images alone. Methods that know every source share a rank where the paired"
    " bootstrap can't tell them apart (Holm, 5 %). FDR is the Frechet distance ratio of the centred logits: the mean"
    " distance of two sources over that of two halves of one, about 1/2 for sources that look alike; it grows with the"
    " number of images, so it compares methods of one table only."
)
_FAMILIES = "Share of a family's images whose answer is a source of the same family, right or wrong within it."
_CONFUSION = "A row is a true source, a column an answer; shares of the row, averaged over the method's trainings."
_OPEN = (
    "Methods that were not shown some of the tested generators. An image is called unknown where the probability of the"
    " answer lies below a threshold, set on known images of the calibration split at the stated rate of false alarms;"
    " beside it stands the rate that the threshold has on tested images of known sources. AUROC parts known from"
    " unknown images without a threshold."
)
_GROUPS = (
    "The distance of two sources is that of the means of their images' centred logits, in units of a training's mean"
    " distance, averaged over trainings; the tree is its average linkage. For each design choice the generators' tree"
    " is cut into as many clusters as the choice has values: NMI is what clusters tell of values (1 all, 0 nothing),"
    " chance is its mean where values are permuted among generators, p the share of permutations that reach it,"
    " adjusted (Holm) over one method's choices. With so few generators NMI is high by chance alone, and choices that"
    " go together can't be told apart."
)
_PLANE = "t-SNE of the centred logits: near points are answered alike; distances between groups mean little."
_ARTIFACTS = "An artifact is the image minus its nearest real image, stretched about grey to be seen."
_BESIDE = "Accuracy on clean images of each task; of the same trainings, the difference is the data's."


def verdict(found: Against) -> str:
    """Return in words whether the best method is better than the best baseline, and by how much."""
    points, low, high = (100 * value for value in (found.difference.value, found.difference.low, found.difference.high))
    words = (
        f"{found.method} minus {found.baseline}: {points:+.1f} points [{low:+.1f}, {high:+.1f}], p = {found.p:.2g}"
        f" over {found.difference.n:,} images and their trainings; "
    )
    if len(found.mcnemar) == 1:
        words += f"McNemar's p, as if images were independent, {found.mcnemar[0]:.2g}. "
    else:
        largest, below = max(found.mcnemar), sum(p < ALPHA for p in found.mcnemar)
        pairs = f"of {len(found.mcnemar)} pairs of trainings {below} differ"
        words += f"{pairs} by McNemar's test, as if images were independent (p at most {largest:.2g}). "
    asked = f"at least {100 * MARGIN:g} points"
    if found.holds:
        words += f"The best method is better by {asked}, and significantly."
    elif found.significant and found.difference.value > 0:
        words += f"It is significantly better, but not by {asked}."
    elif found.significant:
        words += f"It is not better by {asked}: it is significantly worse."
    else:
        words += f"It is not shown to be better by {asked}: the difference may be chance."
    lost = sorted((item.value, name) for name, item in found.parts.items() if item.value < MARGIN)
    if not found.holds and lost:
        where = ", ".join(f"{name} ({100 * value:+.1f})" for value, name in lost)
        words += f" What falls short of the margin, in points: {where}."
    return words


def _parted(methods: Sequence[Method], shown: set[str]) -> tuple[list[Method], list[Method]]:
    return [item for item in methods if item.name in shown], [item for item in methods if item.name not in shown]


def _compared(found: Attribution) -> list[Method]:
    """Return the methods whose figures are of the same sources: those that know all, or every one where none does."""
    return [item for item in found.methods if not item.unseen] or list(found.methods)


def _leaderboard(found: Attribution) -> Table:
    methods = _compared(found)
    families = any((CLEAN, FAMILIES) in item.estimates for item in methods)
    open_set = any(item.unseen for item in methods)
    columns = (
        Column("rank", "rank", "int"),
        Column("method", "method"),
        Column("accuracy", "accuracy", "percent", "high"),
        Column("balanced", "bal. acc.", "percent", "high"),
        *((Column("family", "family acc.", "percent", "high"),) if families else ()),
        Column("fdr", "FDR", "float", "high"),
        Column("spread", "its sd", "float"),
        *((Column("calibration", "acc. in calibration", "percent"),) if found.task.calibration else ()),
        *((Column("unseen", "never saw"),) if open_set else ()),
        Column("trainings", "trainings", "int"),
        Column("images", "images", "int"),
        Column("failed", "failed", "int"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "rank": found.ranks.get(item.name),
            "method": item.name,
            "accuracy": item.accuracy,
            "balanced": item.estimates[CLEAN, BALANCED],
            "family": item.estimates.get((CLEAN, FAMILIES)),
            "fdr": fmean(item.fdr),
            "spread": stdev(item.fdr) if len(item.fdr) > 1 and all(map(math.isfinite, item.fdr)) else None,
            "calibration": item.calibration,
            "unseen": ", ".join(item.unseen),
            "trainings": len(item.models),
            "images": item.images,
            "failed": item.failed,
        }
        for item in methods
    )
    return Table(f"{found.task.name}_leaderboard", "Attribution", columns, rows)


def _parts(found: Against, name: str) -> Table:
    rows = sorted(found.parts.items(), key=lambda item: item[1].value)
    return Table(
        f"{name}_against",
        "Where the difference comes from, the least first",
        (Column("part", "images of"), Column("difference", "difference", "percent"), Column("images", "images", "int")),
        tuple({"part": part, "difference": value, "images": value.n} for part, value in rows),
    )


def _families(found: Attribution) -> Matrix:
    keys = dict.fromkeys(
        key
        for item in found.methods
        for where, key in item.estimates
        if where == CLEAN and key.startswith(family_of(""))
    )
    return _matrix(found, f"{found.task.name}_families", "Accuracy by family", FAMILY, family_of(""), list(keys))


def _recalls(found: Attribution) -> Matrix:
    keys = [recall_of(source) for source in found.sources]
    return _matrix(found, f"{found.task.name}_recalls", "Recall of every source", "source", recall_of(""), keys)


def _matrix(found: Attribution, name: str, title: str, what: str, prefix: str, keys: Sequence[str]) -> Matrix:
    return Matrix(
        name,
        title,
        tuple(item.name for item in found.methods),
        tuple(key.removeprefix(prefix) for key in keys),
        tuple(tuple(item.estimates.get((CLEAN, key)) for key in keys) for item in found.methods),
        row_title="method",
        column_title=what,
        kind="percent",
        low=0.0,
    )


def _confusion(method: Method, name: str) -> Matrix:
    marked = frozenset(
        (row, column)
        for row, source in enumerate(method.sources)
        for column, answer in enumerate(method.answers)
        if source == answer
    )
    return Matrix(
        f"{name}_confusion_{_slug(method.name)}",
        f"Answers of {method.name}",
        method.sources,
        method.answers,
        tuple(tuple(_share(value, method, source) for value in row) for source, row in _rows(method)),
        marked,
        "source",
        "answer",
        "the source itself",
        "percent",
        low=0.0,
    )


def _rows(method: Method) -> Iterator[tuple[str, list[float]]]:
    yield from zip(method.sources, method.confusion.tolist(), strict=True)


def _share(value: float, method: Method, source: str) -> Estimate | None:
    own = method.estimates.get((CLEAN, recall_of(source)))
    return None if own is None or math.isnan(value) else Estimate.bare(value, own.n)


def _open_sets(found: Attribution) -> Table:
    columns = (
        Column("method", "method"),
        Column("unseen", "unseen generator"),
        Column("detected", "called unknown", "percent", "high"),
        Column("false_alarms", "false alarms", "percent"),
        Column("fpr", "asked for", "percent"),
        Column("auroc", "AUROC", "estimate", "high"),
        Column("accuracy", "acc. on known", "percent"),
        Column("images", "images", "int"),
    )
    accuracy = {item.name: item.accuracy for item in found.methods}
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "method": item.method,
            "accuracy": accuracy[item.method],
            "unseen": name,
            "detected": detected,
            "false_alarms": item.false_alarms,
            "fpr": item.fpr,
            "auroc": item.auroc,
            "images": detected.n,
        }
        for item in found.open_sets
        for name, detected in item.detected.items()
    )
    return Table(f"{found.task.name}_unseen", "Images of unseen generators", columns, rows)


def _groups(found: Attribution, shown: set[str]) -> Iterator[Block]:
    for item in found.groupings:
        if item.method in shown:
            yield _tree(item, found.task.name)
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "method": item.method,
            "choice": choice.name,
            "values": choice.values,
            "generators": choice.generators,
            "nmi": choice.found.nmi,
            "chance": choice.found.chance,
            "p": choice.p,
        }
        for item in found.groupings
        for choice in item.choices
    )
    if rows:
        columns = (
            Column("method", "method"),
            Column("choice", "design choice"),
            Column("values", "values", "int"),
            Column("generators", "generators", "int"),
            Column("nmi", "NMI", "estimate"),
            Column("chance", "by chance", "estimate"),
            Column("p", "p (Holm)", "float"),
        )
        yield Table(f"{found.task.name}_designs", "Clusters of generators and how they were designed", columns, rows)


def _trees(found: Attribution, shown: set[str]) -> Iterator[Dendrogram]:
    return (_tree(item, found.task.name) for item in found.groupings if item.method not in shown)


def _tree(found: Grouping, name: str) -> Dendrogram:
    title = f"Sources as {found.method} answers"
    return Dendrogram(f"{name}_tree_{_slug(found.method)}", title, found.tree.order, found.tree.merges)


def _slug(method: str) -> str:
    """Return a method's name as part of a block's: variants have a sign that no block's name takes."""
    return method.replace(VARIANT, "-")


def _curves(found: Attribution) -> Curves:
    conditions = found.task.degradations
    return Curves(
        f"{found.task.name}_accuracy",
        "Accuracy",
        conditions,
        {item.name: tuple(item.estimates[where, ACCURACY] for where in conditions) for item in found.methods},
        "accuracy",
        "condition",
        "percent",
        None,
    )


def _beside(found: Attribution, earlier: Sequence[Attribution]) -> Table:
    tasks = [*earlier, found]
    figures = {task.task.name: {item.name: item.accuracy for item in task.methods} for task in tasks}
    methods = dict.fromkeys(item.name for task in tasks for item in task.methods)
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {"method": method, **{name: known.get(method) for name, known in figures.items()}} for method in methods
    )
    columns = (Column("method", "method"), *(Column(name, name, "percent", "high") for name in figures))
    return Table(f"{found.task.name}_beside", "Accuracy by task", columns, rows)
