"""Runs whose records are written by hand, in real stores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.baselines import Side
from harness.card import Card, Head
from harness.store.records import Record
from harness.store.runs import RunInfo, RunStore

MACHINE = {"system": "Linux x86_64", "processor": "test", "cores": "2"}

DETECTION = {"kind": "detection", "name": "t", "data": "d"}
CLASSIFICATION = {"kind": "classification", "name": "t", "data": "d"}
LOADS = {"kind": "load", "name": "l", "data": "d"}

DETECTOR = Card(name="m.x", score="statistic", heads=(Head(name="fake", threshold=0.5),))


def write_run(
    root: Path,
    run: str,
    cells: Mapping[str, str],
    tasks: Sequence[Mapping[str, object]] = (DETECTION,),
    cards: Mapping[str, Card] | None = None,
    resamples: int = 100,
    environment: Mapping[str, str] = MACHINE,
    **info: object,
) -> Side:
    """Write a finished run of these cells."""
    told = {name: card.model_dump(mode="json") for name, card in (cards or {"m.x": DETECTOR}).items()}
    spec = {"name": "suite", "seed": 0, "resamples": resamples, "tasks": [dict(task) for task in tasks]}
    fixed = {"id": run, "plan": run, "suite": "suite.yaml", "status": "complete", "verdict": "VALID"}
    said = {**fixed, "started": "2026-01-31T12:00:00+00:00", "environment": dict(environment), "spec": spec, **info}
    store = RunStore(root)
    store.save(RunInfo.model_validate({**said, "cells": dict(cells), "cards": told}))
    return Side(store.load(run), root)


def key(name: str) -> str:
    """Return a cell's key, made up from a name."""
    return name.encode().hex().ljust(64, "0")[:64]


def detected(
    root: Path, run: str, scores: Mapping[str, Sequence[float | None]], model: str = "m.x", **options: object
) -> Side:
    """Write a run of one detector: a score an image of each subset (``nature`` is real), None for a failure."""
    store, cells = RunStore(root).cells, {}
    for subset, values in scores.items():
        name = f"t/{model}/{subset}/test/none/batch 8"
        cells[name] = key(f"{run}-{subset}")
        records = [
            Record(i, f"{subset}/{i}.png", f"s{i}", int(subset != "nature"), value if value is None else [value],
                   "image:empty" if value is None else None)
            for i, value in enumerate(values)
        ]  # fmt: skip
        store.append(cells[name], records)
    return write_run(root, run, cells, **options)  # type: ignore[arg-type]


def mixed(root: Path, run: str, labels: Sequence[int], scores: Sequence[float]) -> Side:
    """Write a run of one detector whose only cell has images of both classes, two a source."""
    cell = key(f"{run}-mixed")
    pairs = enumerate(zip(labels, scores, strict=True))
    RunStore(root).cells.append(
        cell, [Record(i, f"{i}.png", f"s{i // 2}", label, [score]) for i, (label, score) in pairs]
    )
    return write_run(root, run, {"t/m.x/mixed/test/none/batch 8": cell})


def classified(root: Path, run: str, said: Sequence[int], targets: Sequence[int], classes: int = 5) -> Side:
    """Write a run of one classifier."""
    cell = key(f"{run}-classes")
    rows = np.eye(classes, dtype=np.float32)[list(said)]
    RunStore(root).cells.append(
        cell,
        [
            Record(i, f"{i}.png", f"{i}.png", 0, row, target=t)
            for i, (row, t) in enumerate(zip(rows, targets, strict=True))
        ],
    )
    card = Card(name="m.x", task="classification", classes=tuple(map(str, range(classes))), heads=())
    return write_run(root, run, {"t/m.x/imagenet/test/none/batch 8": cell}, [CLASSIFICATION], {"m.x": card})


def loaded(
    root: Path,
    run: str,
    repeats: Sequence[Sequence[float]],
    failed: int = 0,
    load: str = "concurrency requests=1",
    **options: object,
) -> Side:
    """Write a run of one load: the seconds of each repeat's requests, and failures among the last one's.

    Of Offline, whose requests all wait for those before them, they are the service.
    """
    cell = key(f"{run}-load")
    seconds = [value for values in repeats for value in values]
    columns = {
        "position": pa.array(range(len(seconds)), pa.int64()),
        "error": pa.array([None] * (len(seconds) - failed) + ["endpoint:timeout"] * failed, pa.string()),
        "seconds": pa.array(np.cumsum(seconds) if load == "Offline" else seconds, pa.float64()),
        "service": pa.array(seconds, pa.float64()),
        "repeat": pa.array([i for i, values in enumerate(repeats) for _ in values], pa.int32()),
    }
    folder = root / "loads" / cell[:2] / cell
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "000000000-0.parquet")
    return write_run(root, run, {f"l/m.x/{load}": cell}, [LOADS], **options)  # type: ignore[arg-type]
