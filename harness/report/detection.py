"""The report of detection tasks: which figures stand where, and in what words. Computes none of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.claims import Checked
from harness.data.audit import Audit
from harness.images.degrade import CLEAN, THEN
from harness.report.tree import Block, Cell, Column, Curves, Matrix, Section, Sheet, Table, Text, Tile
from harness.stats import Estimate
from harness.tasks.detection import Detection, Detector, Figures, cross_generator, in_domain
from harness.tasks.leaderboard import comparisons, standings
from harness.tasks.thresholds import describe

SHORT = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "AP",
    "tpr_at_1pct_fpr": "TPR at 1 % FPR",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "ece": "ECE",
    "accuracy": "accuracy",
    "real_accuracy": "real accuracy",
    "fake_accuracy": "fake accuracy",
}


@dataclass(frozen=True)
class TaskResult:
    """Everything known of one task.

    Attributes:
        detection: its figures.
        audit: formats, qualities and sizes held against the labels; None where the suite has it off.
        claims: published figures beside measured ones.
        tiles: worst mistakes as pictures.
    """

    detection: Detection
    audit: Audit | None
    claims: Sequence[Checked]
    tiles: Sequence[Tile]


def detection_sections(result: TaskResult, many: bool) -> Iterator[Section]:
    """Lay out one task.

    Args:
        result: everything known of it.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    detection = result.detection
    prefix = f"{detection.task.name}: " if many else ""
    name = detection.task.name
    yield Section(f"{prefix}Leaderboard", tuple(_leaderboard(result, name)), _intro(detection))
    yield Section(
        f"{prefix}Detector x generator",
        tuple(_matrices(detection, name)),
        "Rows are detectors, columns the generators they are tested on; outlined cells are in-domain: the detector was"
        " trained on that generator. Diagonal and off-diagonal are never averaged together.",
    )
    if len(detection.task.degradations) > 1:
        yield Section(f"{prefix}Degradations", tuple(_curves(detection, name)), _SHARED, detail=True)
    if result.audit is not None:
        yield Section(f"{prefix}Confound audit", tuple(_audit(result.audit, name)), _AUDIT)
    if result.claims:
        yield Section(
            f"{prefix}Claims", (_claims(result.claims, name),), "Published figures beside this run's, clean images."
        )
    if result.tiles:
        yield Section(
            f"{prefix}Worst mistakes",
            (
                Sheet(
                    f"{name}_mistakes", "Clean images farthest on the wrong side of the threshold", tuple(result.tiles)
                ),
            ),
            detail=True,
        )
    yield Section(
        f"{prefix}All figures",
        (_figures(detection, name),),
        "One row per detector, generator and condition.",
        detail=True,
    )


_SHARED = "Mean over the generators that each title names; the intervals are in the tables behind the pictures."

_AUDIT = (
    "Read from the files' bytes, never from their names. A detector that needs no pixels should not beat chance: where"
    " one does, that generator's figures may measure the file format."
)


def _intro(detection: Detection) -> str:
    return (
        f"Threshold: {describe(detection.task.threshold)}. Ranked by mean AUROC over generators that the detector was"
        " not trained on; detectors that a paired bootstrap can't tell apart (Holm, 5 %) share a rank. Intervals are"
        " 95 %, resampling source images; rates of one class have Wilson intervals."
    )


def _leaderboard(result: TaskResult, name: str) -> Iterator[Block]:
    detection = result.detection
    harmonised = _harmonised(detection)
    columns = [
        Column("rank", "rank", "int"),
        Column("detector", "detector", "text"),
        Column("cross_auroc", "cross-generator AUROC", "estimate", "high"),
        Column("cross_accuracy", "cross-generator bal. acc.", "estimate", "high"),
        Column("in_auroc", "in-domain AUROC", "estimate", "high"),
        Column("in_accuracy", "in-domain bal. acc.", "estimate", "high"),
        Column("real_accuracy", "real acc.", "percent", "high"),
        Column("fake_accuracy", "fake acc.", "percent", "high"),
        Column("worst", "worst generator", "text"),
        Column("worst_auroc", "its AUROC", "estimate", "high"),
    ]
    if harmonised:
        columns.insert(3, Column("harmonised_auroc", "harmonised cross AUROC", "estimate", "high"))
    degraded = [item for item in detection.task.degradations if item != CLEAN]
    if degraded:
        columns.append(Column("degraded_auroc", "in-domain AUROC, mean of degraded", "percent", "high"))
    rows: list[dict[str, Cell]] = []
    table = standings(detection)
    for standing in table:
        detector = standing.detector
        worst = detector.worst("auroc", CLEAN)
        rows.append(
            {
                "rank": standing.rank,
                "detector": detector.name,
                "cross_auroc": detector.mean("auroc", CLEAN, cross_generator),
                "harmonised_auroc": detector.mean("auroc", harmonised, cross_generator) if harmonised else None,
                "cross_accuracy": detector.mean("balanced_accuracy", CLEAN, cross_generator),
                "in_auroc": detector.mean("auroc", CLEAN, in_domain),
                "in_accuracy": detector.mean("balanced_accuracy", CLEAN, in_domain),
                "real_accuracy": _plain_mean(detector, "real_accuracy"),
                "fake_accuracy": _plain_mean(detector, "fake_accuracy"),
                "worst": worst.generator if worst else "",
                "worst_auroc": worst.estimates["auroc"] if worst else None,
                "degraded_auroc": _degraded(detector, degraded),
            }
        )
    rows += _baselines(result.audit)
    keys = {column.key for column in columns}
    yield Table(
        f"{name}_leaderboard",
        "Leaderboard",
        tuple(columns),
        tuple({key: value for key, value in row.items() if key in keys} for row in rows),
    )
    unranked = len(detection.detectors) - len(table)
    if unranked:
        yield Text(f"{unranked} detectors have no figure: their images hold one class only. See all figures below.")
    held = comparisons(table)
    if held:
        yield Table(
            f"{name}_comparisons",
            f"Paired with {table[0].detector.name}",
            (
                Column("detector", "detector", "text"),
                Column("auroc", "AUROC lost to the leader", "estimate"),
                Column("auroc_p", "p (paired bootstrap, Holm)", "float"),
                Column("accuracy", "accuracy lost", "percent"),
                Column("accuracy_p", "p (McNemar, Holm)", "float"),
                Column("images", "images", "int"),
            ),
            tuple(
                {
                    "detector": row.detector,
                    "auroc": row.auroc,
                    "auroc_p": row.auroc_p,
                    "accuracy": row.accuracy,
                    "accuracy_p": row.accuracy_p,
                    "images": row.images,
                }
                for row in held
            ),
        )


def _baselines(audit: Audit | None) -> list[dict[str, Cell]]:
    """Return rows of detectors that look at no pixel: every leaderboard shows what they would reach."""
    if audit is None:
        return []
    return [
        {"detector": f"baseline: {name}", "cross_auroc": figure.value, "worst": "", "rank": None}
        for name, figure in audit.means().items()
    ]


def _matrices(detection: Detection, name: str) -> Iterator[Matrix]:
    for condition, title in ((CLEAN, ""), (_harmonised(detection), ", harmonised")):
        if condition is None:
            continue
        for metric in ("auroc", "balanced_accuracy"):
            values = [
                [_defined(detector.figures[condition, generator], metric) for generator in detection.generators]
                for detector in detection.detectors
            ]
            diagonal = {
                (row, column)
                for row, detector in enumerate(detection.detectors)
                for column, generator in enumerate(detection.generators)
                if generator in detector.head.trained_on
            }
            yield Matrix(
                name=f"{name}_{metric}" + ("_harmonised" if title else ""),
                title=SHORT[metric][0].upper() + SHORT[metric][1:] + title,
                row_labels=tuple(detector.name for detector in detection.detectors),
                column_labels=tuple(detection.generators),
                values=tuple(tuple(row) for row in values),
                diagonal=frozenset(diagonal),
                row_title="detector",
                column_title="tested on",
                kind="estimate" if metric == "auroc" else "percent",
            )


def _curves(detection: Detection, name: str) -> Iterator[Curves]:
    """One picture a family of degradations, each starting from the clean images."""
    families: dict[str, list[str]] = {}
    for condition in detection.task.degradations:
        if condition != CLEAN:
            families.setdefault("chain" if THEN in condition else condition.split()[0], []).append(condition)
    for keep, where, words in (
        (in_domain, "in_domain", "generators trained on"),
        (cross_generator, "cross", "new generators"),
    ):
        for family, members in families.items():
            conditions = [CLEAN, *members]
            series = {
                detector.name: tuple(detector.mean("auroc", condition, keep) for condition in conditions)
                for detector in detection.detectors
            }
            shown = {label: values for label, values in series.items() if any(value is not None for value in values)}
            if shown:
                yield Curves(
                    name=f"{name}_{family}_{where}",
                    title=f"AUROC under {family}: {words}",
                    x_labels=(CLEAN, *(item.removeprefix(f"{family} ") for item in members)),
                    series=shown,
                    y_title="AUROC",
                )


def _audit(audit: Audit, name: str) -> Iterator[Block]:
    yield Table(
        f"{name}_audit",
        "Verdicts",
        (
            Column("generator", "generator", "text"),
            Column("verdict", "verdict", "text"),
            *(Column(_slug(item), item, "estimate") for item in audit.means()),
            Column("reason", "why", "text"),
        ),
        tuple(
            {
                "generator": finding.generator,
                "verdict": finding.verdict,
                "reason": finding.reason,
                **{_slug(row.name): row.auroc for row in audit.baselines if row.generator == finding.generator},
            }
            for finding in audit.findings
        ),
    )
    yield Table(
        f"{name}_files",
        "What the files are",
        (
            Column("subset", "subset", "text"),
            Column("label", "label", "text"),
            Column("images", "images", "int"),
            Column("formats", "formats", "text"),
            Column("quality", "JPEG quality, quartiles", "text"),
            Column("size", "most common size", "text"),
            Column("share", "its share", "percent"),
            Column("bytes", "median file", "bytes"),
        ),
        tuple(
            {
                "subset": item.subset,
                "label": "fake" if item.label else "real",
                "images": item.images,
                "formats": ", ".join(f"{share:.0%} {kind}" for kind, share in item.formats.items()),
                "quality": " / ".join(f"{value:.0f}" for value in item.jpeg_quality or ()),
                "size": item.size[0],
                "share": item.size[1],
                "bytes": item.bytes,
            }
            for item in audit.profiles
        ),
    )


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower()).strip("_")


def _claims(claims: Sequence[Checked], name: str) -> Table:
    words = {None: "not measured", True: "within reach", False: "measured lower"}
    return Table(
        f"{name}_claims",
        "Claims",
        (
            Column("detector", "detector", "text"),
            Column("generator", "generator", "text"),
            Column("metric", "metric", "text"),
            Column("claimed", "claimed", "percent"),
            Column("measured", "measured", "estimate"),
            Column("holds", "verdict", "text"),
            Column("source", "source", "text"),
        ),
        tuple(
            {
                "detector": claim.detector,
                "generator": claim.generator,
                "metric": SHORT.get(claim.metric, claim.metric),
                "claimed": claim.claimed,
                "measured": claim.measured,
                "holds": words[claim.holds],
                "source": claim.source,
            }
            for claim in claims
        ),
    )


def _figures(detection: Detection, name: str) -> Table:
    metrics = list(
        dict.fromkeys(key for item in detection.detectors for f in item.figures.values() for key in f.estimates)
    )
    return Table(
        f"{name}_figures",
        "All figures",
        (
            Column("detector", "detector", "text"),
            Column("generator", "generator", "text"),
            Column("condition", "condition", "text"),
            Column("domain", "domain", "text"),
            Column("reals", "reals", "int"),
            Column("fakes", "fakes", "int"),
            Column("failed", "failed", "int", "low"),
            Column("threshold", "threshold", "float"),
            *(Column(key, SHORT[key], "estimate", "low" if key == "ece" else "high") for key in metrics),
        ),
        tuple(
            {
                "detector": detector.name,
                "generator": figures.generator,
                "condition": figures.condition,
                "domain": "in-domain" if figures.in_domain else "cross",
                "reals": figures.reals,
                "fakes": figures.fakes,
                "failed": sum(figures.failures.values()),
                "threshold": detector.threshold,
                **{key: _defined(figures, key) for key in metrics},
            }
            for detector in detection.detectors
            for figures in detector.figures.values()
        ),
    )


def _harmonised(detection: Detection) -> str | None:
    return detection.task.harmonise.id if detection.task.harmonise else None


def _defined(figures: Figures, metric: str) -> Estimate | None:
    estimate = figures.estimates.get(metric)
    return None if estimate is None or estimate.value != estimate.value else estimate


def _plain_mean(detector: Detector, metric: str) -> float | None:
    values = [
        item.estimates[metric].value
        for (condition, _), item in detector.figures.items()
        if condition == CLEAN and _defined(item, metric) is not None
    ]
    return sum(values) / len(values) if values else None


def _degraded(detector: Detector, conditions: Sequence[str]) -> float | None:
    values = [
        estimate.value for name in conditions if (estimate := detector.mean("auroc", name, in_domain)) is not None
    ]
    return sum(values) / len(values) if values else None
