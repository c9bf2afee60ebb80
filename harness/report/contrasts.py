"""Arms of an experiment and the contrasts between them, laid out. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.degraded import brief
from harness.report.figures import WORDS
from harness.report.tree import Block, Column, Curves, Section, Table
from harness.tasks.contrasts import Experiment

_INTRO = (
    "An arm is several trainings that differ in generator and seed alone; a contrast pairs two arms' trainings. Figures"
    " are AUROCs, averaged over tested generators and trainings. Intervals are 95 %: they resample source images, and"
    " of the trainings on one generator as many as there are but one. The narrower interval beside it resamples images"
    " alone, and says nothing of another seed. p is adjusted (Holm) over the contrasts of one table."
)


def contrast_section(found: Experiment, name: str, prefix: str) -> Section:
    """Lay out a task's experiment."""
    return Section(f"{prefix}Contrasts", tuple(_blocks(found, name)), _INTRO)


def _blocks(found: Experiment, name: str) -> Iterator[Block]:
    short = brief(list(dict.fromkeys(where for arm in found.arms for _, where in arm.figures)))
    for domain, words in WORDS.items():
        contrasts = [item for item in found.contrasts if item.domain == domain]
        if contrasts:
            yield Table(
                f"{name}_contrasts_{domain}",
                f"Differences in AUROC, {words}",
                (
                    Column("first", "arm"),
                    Column("second", "minus"),
                    Column("condition", "images"),
                    Column("difference", "difference", "estimate"),
                    Column("images_alone", "images alone", "estimate"),
                    Column("p", "p (Holm)", "float"),
                    Column("higher", "higher in", "int"),
                    Column("pairs", "of pairs", "int"),
                ),
                tuple(
                    {
                        "first": item.first,
                        "second": item.second,
                        "condition": short.get(item.condition, item.condition),
                        "difference": item.difference,
                        "images_alone": item.images_alone,
                        "p": item.p,
                        "higher": item.higher,
                        "pairs": item.pairs,
                    }
                    for item in contrasts
                ),
            )
    for domain, words in WORDS.items():
        conditions = tuple(dict.fromkeys(where for arm in found.arms for own, where in arm.figures if own == domain))
        if conditions:
            yield Curves(
                f"{name}_arms_{domain}",
                f"AUROC of each arm, {words}",
                tuple(short.get(item, item) for item in conditions),
                {arm.name: tuple(arm.figures.get((domain, item)) for item in conditions) for arm in found.arms},
                y_title="AUROC",
            )
