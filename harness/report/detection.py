"""The report of detection tasks: which figures stand where, and in what words. Computes none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.claims import Checked
from harness.data.audit import Audit
from harness.fingerprints.bank import Bank
from harness.images.degrade import CLEAN
from harness.report.audit import audit_tables
from harness.report.claims import claim_sections
from harness.report.contrasts import contrast_section
from harness.report.correlation import correlation_section
from harness.report.cross import cross_sections
from harness.report.degraded import degraded_blocks
from harness.report.figures import figures_table, harmonised, shown
from harness.report.gallery import gallery_section
from harness.report.learning import learning_section
from harness.report.lineage import lineage_sections
from harness.report.tree import Block, Cell, Column, Section, Sheet, Table, Text, Tile
from harness.tasks.contrasts import Experiment
from harness.tasks.correlation import Correlation
from harness.tasks.detection import Detection, Detector, cross_generator, in_domain
from harness.tasks.leaderboard import comparisons, standings
from harness.tasks.learning import LearningCurve
from harness.tasks.lineage import Lineage
from harness.tasks.thresholds import describe


@dataclass(frozen=True)
class TaskResult:
    """Everything known of one task.

    Attributes:
        detection: its figures.
        audit: formats, qualities and sizes held against the labels; None where the suite has it off.
        claims: published figures beside measured ones.
        tiles: worst mistakes as pictures.
        correlation: how alike generators look; None where the task does not ask, or has too few detectors.
        experiment: arms held against each other; None where the task names none.
        learning: detectors by how much they were trained on; None where the task does not ask.
        lineages: who finds whose images; none where the task does not ask.
        banks: fingerprints by model; those of endpoints elsewhere are not at hand.
    """

    detection: Detection
    audit: Audit | None
    claims: Sequence[Checked]
    tiles: Sequence[Tile]
    correlation: Correlation | None = None
    experiment: Experiment | None = None
    learning: LearningCurve | None = None
    lineages: Sequence[Lineage] = ()
    banks: Mapping[str, Bank] = field(default_factory=dict)


def detection_sections(result: TaskResult, many: bool) -> Iterator[Section]:
    """Lay out one task.

    Args:
        result: everything known of it.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    detection = result.detection
    prefix = f"{detection.task.name}: " if many else ""
    name = detection.task.name
    if result.experiment is not None:
        yield contrast_section(result.experiment, name, prefix)
    if result.learning is not None:
        yield learning_section(result.learning, name, prefix)
    if detection.task.correlation:
        yield correlation_section(result.correlation, name, prefix)
    if detection.task.lineage is not None:
        yield from lineage_sections(result.lineages, result.banks, name, prefix)
    yield Section(f"{prefix}Leaderboard", tuple(_leaderboard(result, name)), _intro(detection))
    yield from cross_sections(detection, name, prefix)
    if len(detection.task.degradations) > 1:
        yield Section(f"{prefix}Degradations", tuple(degraded_blocks(detection, name)), _SHARED, detail=True)
    if result.audit is not None:
        yield Section(f"{prefix}Confound audit", tuple(audit_tables(result.audit, name)), _AUDIT)
    yield from claim_sections(result.claims, name, prefix)
    if detection.task.gallery:
        yield gallery_section(
            result.banks, list(dict.fromkeys(item.model for item in detection.detectors)), name, prefix
        )
    if result.tiles:
        title = "Clean images farthest on the wrong side of the threshold"
        sheet = Sheet(f"{name}_mistakes", title, tuple(result.tiles))
        yield Section(f"{prefix}Worst mistakes", (sheet,), detail=True)
    every = "One row per detector, generator and condition."
    yield Section(f"{prefix}All figures", (figures_table(detection, name),), every, detail=True)


_SHARED = (
    "Mean over the generators that each title names; the intervals of curves are in the tables behind the pictures. A"
    " table's mean leaves the clean images out."
)

_AUDIT = (
    "Read from the files' bytes, never from their names. A detector that needs no pixels should not beat chance: where"
    " one does, that generator's figures may measure the file format."
)


def _intro(detection: Detection) -> str:
    crossed = any(cross_generator(item) for detector in detection.detectors for item in detector.figures.values())
    over = "generators that the detector was not trained on" if crossed else "the tested generators, all trained on"
    return (
        f"Threshold: {describe(detection.task.threshold)}. Ranked by mean AUROC over {over}; detectors that a paired"
        " bootstrap can't tell apart (Holm, 5 %) share a rank. Intervals are 95 %, resampling source images; rates of"
        " one class have Wilson intervals."
    )


def _leaderboard(result: TaskResult, name: str) -> Iterator[Block]:
    detection = result.detection
    condition = harmonised(detection)
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
    if condition:
        columns.insert(3, Column("harmonised_auroc", "harmonised cross AUROC", "estimate", "high"))
    degraded = [item for item in detection.task.degradations if item != CLEAN]
    if degraded:
        columns.append(Column("degraded_auroc", "in-domain AUROC, mean of degraded", "estimate", "high"))
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
                "harmonised_auroc": detector.mean("auroc", condition, cross_generator) if condition else None,
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


def _plain_mean(detector: Detector, metric: str) -> float | None:
    values = [
        item.estimates[metric].value
        for (condition, _), item in detector.figures.items()
        if condition == CLEAN and shown(item, metric) is not None
    ]
    return sum(values) / len(values) if values else None


def _degraded(detector: Detector, conditions: Sequence[str]) -> float | None:
    values = [
        estimate.value for name in conditions if (estimate := detector.mean("auroc", name, in_domain)) is not None
    ]
    return sum(values) / len(values) if values else None
