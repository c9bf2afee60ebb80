"""The command line as a user has it, and what a run leaves."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

SMALL = """\
name: small
seed: 3
repository: {repository}
data: {{d: {{layout: miniature}}}}
models: [dif.miniature]
resamples: 200
tasks:
  - kind: detection
    name: small
    data: d
    degradations: [none, {{jpeg: {{quality: 65}}}}]
    harmonise: {{codec: jpeg, quality: 96}}
"""
"""A suite of a few seconds over the miniature corpus."""


def write_small(folder: Path, repository: Path) -> Path:
    """Write the small suite, which asks models of a repository."""
    path = folder / "small.yaml"
    path.write_text(SMALL.format(repository=repository), encoding="utf-8")
    return path


def harness(
    *words: object, environ: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "harness", *map(str, words)]
    env = {**os.environ, **(environ or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)


def folder_of(run: subprocess.CompletedProcess[str]) -> Path:
    """Return the folder of a run that has to have ended well."""
    assert run.returncode == 0, run.stderr + run.stdout
    return Path(run.stdout.rsplit("Report: ", 1)[1].strip()).parent


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that a run says: its files, but for the record of when and where it ran."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def table(folder: Path, name: str) -> pd.DataFrame:
    """Return one of a run's tables."""
    return pd.read_csv(folder / "tables" / f"{name}.csv")
