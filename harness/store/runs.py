"""One folder a run: run.json says what was asked, of whom, and how it ended; reports lie beside it."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from harness.errors import DamagedWarning, StoreError, problem
from harness.frozen import Frozen
from harness.held import sweep
from harness.store.cells import CellStore
from harness.store.differences import DIFFERENCE_SCHEMA
from harness.store.files import write_atomic
from harness.store.loads import LOAD_SCHEMA
from harness.store.searches import SEARCH_SCHEMA

FOLDERS = ("runs", "cells", "searches", "differences", "loads", "conclusions", "references", "manifests")
"""Folders below a root that runs write to."""

Status = Literal["running", "interrupted", "failed", "complete"]


Part = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=200)]
"""One part of a path: no run.json names a place elsewhere."""


class RunInfo(Frozen):
    """What run.json holds.

    Attributes:
        id: name of the folder.
        plan: digest of all cell keys; the same question has the same plan.
        suite: path of the suite file; ``settings`` were laid over it.
        spec: the resolved suite.
        status: how it stands; ``running`` of a dead process counts as interrupted.
        started, finished: UTC, ISO 8601.
        served: how the run's own server was started, if it was.
        cells: cell keys by ``task/model/subset/split/degradation``.
        cards: cards of the models that were asked, by the suite's names.
        data: digests of the data sets, files and labels, by the suite's names.
        environment: machine and versions.
        engine: what answered its cells.
        records: URL where its records are; in folders beside its own where None.
        verdict: VALID or INVALID and why, once complete.
    """

    id: Part
    plan: str
    suite: str
    settings: tuple[str, ...] = ()
    spec: dict[str, Any]
    status: Status
    started: str
    finished: str | None = None
    served: str | None = None
    limit: int | None = None
    cells: dict[str, Part] = {}
    cards: dict[str, Any] = {}
    data: dict[str, str] = {}
    environment: dict[str, Any] = {}
    engine: str = "local"
    records: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.\-]*://", max_length=2000)] | None = None
    verdict: str | None = None


class RunStore:
    """All runs under one root, beside the cells they share.

    Args:
        root: ``reports`` by default; holds ``runs/``, ``cells/``, ``searches/``, ``differences/``, ``loads/``,
            ``conclusions/``, ``references/`` and ``manifests/``.
        records: URL that the former four are below instead, of any file system of fsspec.

    Raises:
        HarnessError: a URL that nothing reaches.
    """

    def __init__(self, root: Path, records: str | None = None) -> None:
        self.root = root

        def place(name: str) -> Path | str:
            return root / name if records is None else f"{records.rstrip('/')}/{name}"

        self.cells = CellStore(place("cells"))
        self.searches = CellStore(place("searches"), SEARCH_SCHEMA)
        self.differences = CellStore(place("differences"), DIFFERENCE_SCHEMA)
        self.loads = CellStore(place("loads"), LOAD_SCHEMA)
        self.manifests = root / "manifests"
        self.references = root / "references"

    def sweep(self) -> None:
        """Remove what killed processes have left half-written below the root."""
        for name in FOLDERS:
            sweep(self.root / name, "**/.*")

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.root / "runs" / run_id

    def save(self, info: RunInfo) -> None:
        """Write run.json whole."""
        text = json.dumps(info.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        write_atomic(self.folder(info.id) / "run.json", text.encode())

    def load(self, run_id: str) -> RunInfo:
        """Read a run. Raises StoreError where there is none or it can't be read."""
        path = self.folder(run_id) / "run.json"
        try:
            return RunInfo.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            known = ", ".join(info.id for info in self.all()[-3:]) or "none yet"
            raise StoreError(
                problem(f"run {run_id}", f"a folder {path.parent}", "none", f"Latest runs: {known}")
            ) from error
        except (OSError, ValidationError) as error:
            raise _unreadable(path, error) from error

    def all(self) -> list[RunInfo]:
        """Return every readable run, oldest first; others with a :class:`~harness.errors.DamagedWarning`."""
        runs = []
        for path in (self.root / "runs").glob("*/run.json"):
            try:
                runs.append(RunInfo.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError) as error:
                warnings.warn(DamagedWarning(str(_unreadable(path, error))), stacklevel=2)
        return sorted(runs, key=lambda info: (info.started, info.id))

    def unfinished(self, plan: str) -> RunInfo | None:
        """Return the latest run of this plan that has not ended, to go on with."""
        open_runs = [info for info in self.all() if info.plan == plan and info.status != "complete"]
        return open_runs[-1] if open_runs else None

    def kept(self, key: str) -> bytes | None:
        """Return what was kept under a digest; None where nothing was."""
        try:
            return self._kept(key).read_bytes()
        except OSError:
            return None

    def keep(self, key: str, content: bytes) -> None:
        """Keep a run's conclusion under the digest of all that it was drawn from."""
        write_atomic(self._kept(key), content)

    def _kept(self, key: str) -> Path:
        return self.root / "conclusions" / f"{key}.json"


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(problem(str(path), "a readable run.json", type(error).__name__, "Delete the folder"))


def now() -> str:
    """Return the time as run.json writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
