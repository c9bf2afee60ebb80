"""The report of a whole suite: its tasks' sections between what stands on every report. Computes no figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.fingerprints.reference import Reference
from harness.models import Model
from harness.report.tree import Column, Pairs, Report, Section, Table
from harness.spec.suite import Suite


def suite_report(
    suite: Suite,
    sections: Iterable[Section],
    models: Mapping[str, Model],
    data_notes: Sequence[str],
    environment: Mapping[str, str],
    reasons: Sequence[str],
    references: Sequence[Reference] = (),
) -> Report:
    """Lay out a suite's report.

    Args:
        suite: the suite.
        sections: its tasks' sections, in order.
        models: opened models by name.
        data_notes: what must be said of the data.
        environment: facts of the machine.
        reasons: why the run is INVALID; empty where it is VALID.
        references: that artifacts were taken against.
    """
    return Report(
        title=suite.name,
        subtitle=suite.description,
        verdict="VALID" if not reasons else "INVALID: " + "; ".join(reasons),
        notes=(*suite.report.notes, *data_notes),
        sections=(
            *sections,
            *([Section("Models", (_models(models),), detail=True)] if models else []),
            *([Section("References", (_references(references),), detail=True)] if references else []),
            Section("Environment", (_environment(environment),), detail=True),
        ),
    )


def _references(references: Sequence[Reference]) -> Table:
    return Table(
        "references",
        "Real images that artifacts are taken against",
        (
            Column("reference", "identity"),
            Column("space", "space"),
            Column("embedder", "embedder"),
            Column("images", "images", "int"),
            Column("index", "search"),
            Column("recall", "recall@1", "percent"),
        ),
        tuple(
            {
                "reference": item.identity[:12],
                "space": item.about.basis.space,
                "embedder": item.about.embedder,
                "images": item.about.count,
                "index": item.about.basis.index,
                "recall": item.about.recall,
            }
            for item in references
        ),
    )


def _models(models: Mapping[str, Model]) -> Table:
    return Table(
        "models",
        "What answered",
        (
            Column("model", "model", "text"),
            Column("summary", "summary", "text"),
            Column("platform", "answered by", "text"),
            Column("parity", "parity of the export", "text"),
            Column("weights", "weights", "text"),
            Column("licence", "licence", "text"),
        ),
        tuple(
            {
                "model": model.name,
                "summary": model.card.summary,
                "platform": model.info.platform,
                "parity": parity_words(model),
                "weights": model.info.weights_sha256[:12] or "not told",
                "licence": model.card.licence,
            }
            for model in models.values()
        ),
    )


def parity_words(model: Model) -> str:
    """Return the parity verdict of a model's export in one line."""
    parity = model.card.parity
    if parity is None:
        return "none recorded"
    served = "not served" if parity.served_max_abs is None else f"served {parity.served_max_abs:.1e}"
    torch = f"torch {parity.torch_max_abs:.1e},"
    if parity.agreement is not None:
        torch = f"{parity.agreement:.0%} decided as torch,"
    if parity.layers_equal is not None:
        torch += f" {parity.layers_equal:.2%} of its layers' values equal,"
    return (
        f"{'passed' if parity.passed else 'FAILED'} on {parity.probes} probes: {torch}"
        f" batch {parity.batch_max_abs:.1e}, {served}, {parity.flips} flips (tolerance {parity.tolerance:.0e})"
    )


def _environment(facts: Mapping[str, str]) -> Pairs:
    return Pairs("environment", tuple(facts.items()))
