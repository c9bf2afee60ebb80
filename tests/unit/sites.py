"""Runs made up by hand, for tests of the site over many of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.report.files import write_report
from harness.report.tree import Block, Column, Report, Section, Table
from harness.stats import Estimate


def board(
    figures: Mapping[str, float], name: str = "detect_leaderboard", title: str = "Leaderboard", word: str = "detector"
) -> Table:
    """Return a leaderboard of these figures, in their order, and a baseline below it."""
    columns = (
        Column("rank", "rank", "int"),
        Column("word", word),
        Column("none", "never", "estimate", "high"),
        Column("auroc", "AUROC", "estimate", "high"),
        Column("seconds", "seconds", "float", "low"),
    )
    rows = [
        {"rank": rank, "word": label, "auroc": Estimate(value, value - 0.1, value + 0.1, 50), "seconds": 2.0}
        for rank, (label, value) in enumerate(figures.items(), 1)
    ]
    rows.append({"rank": None, "word": "baseline: is it a JPEG?", "auroc": 0.5})
    return Table(name, title, columns, tuple(rows))


def report(*blocks: Block, models: Sequence[str] = (), verdict: str = "VALID") -> Report:
    """Return a report of these blocks and models."""
    about = Table(
        "models",
        "What answered",
        (Column("model", "model"), Column("summary", "summary"), Column("licence", "licence")),
        tuple({"model": name, "summary": f"what {name} is", "licence": "MIT"} for name in models),
    )
    return Report("small", "", verdict, (), (Section("s", (*blocks, about)),))


def run_json(
    folder: str, day: int = 1, suite: str = "small", verdict: str = "VALID", endpoint: str | None = None, **more: object
) -> dict[str, object]:
    """Return what run.json says of a run that asked `a.*` and `b.one`."""
    return {
        "id": folder,
        "plan": "0" * 64,
        "suite": "suites/small.yaml",
        "spec": {
            "name": suite,
            "tasks": [{"name": "detect", "kind": "detection"}],
            "models": [{"name": "a.*", "endpoint": endpoint}, {"name": "b.one", "endpoint": None}],
        },
        "status": "complete",
        "started": f"2026-{1 + day // 28:02}-{1 + day % 28:02}T10:00:00+00:00",
        "verdict": verdict,
        **more,
    }


def make_run(root: Path, folder: str, told: Report, **info: object) -> Path:
    """Write a run that has ended."""
    path = root / "runs" / folder
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(run_json(folder, **info)))
    write_report(told, path)
    return path
