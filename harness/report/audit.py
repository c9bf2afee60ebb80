"""The confound audit laid out: what the files tell without a look at their pixels. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.audit import Audit
from harness.report.tree import Column, Table


def audit_tables(audit: Audit, name: str) -> Iterator[Table]:
    """Yield the verdict on each generator, then what each subset's files are; ``name`` begins their names."""
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
