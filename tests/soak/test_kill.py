"""Runs killed without warning at fifty moments: they end as if nothing had been, each record there once."""

import itertools
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.commands import contents, write_small

KILLS = 50


COMMAND = """
import os, sys
from harness.cli import main
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
sys.argv = ["harness", *words]
main()
"""


@pytest.fixture(scope="module")
def suite(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("suite"), repository)


def start(suite: Path, out: Path) -> ForkServerProcess:
    """Start a run in a process of its own, which has its imports behind it: no moment is spent on them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.cli", "harness.run"])
    words = ["run", str(suite), "--out", str(out), "--limit", "5"]
    process = context.Process(target=exec, args=(COMMAND, {"words": words}))
    process.start()
    return process


def finish(suite: Path, out: Path) -> list[dict[str, bytes]]:
    """Run to the end, and return what each run there says."""
    process = start(suite, out)
    process.join()
    assert process.exitcode == 0
    runs = sorted(out.glob("runs/*/run.json"))
    assert all(json.loads(path.read_bytes())["status"] == "complete" for path in runs)
    return [contents(path.parent) for path in runs]


def records(out: Path) -> Iterator[tuple[str, int]]:
    """Yield the cell and the position of each record on disk, as often as it is there."""
    for part in sorted(out.glob("cells/*/*/*.parquet")):
        for position in pq.read_table(part, columns=["position"])["position"].to_pylist():
            yield part.parent.name, position


def stage(out: Path, answers: int) -> str:
    """Return how far a run has come, from what is on disk."""
    if not any(out.glob("runs/*/run.json")):
        return "preparing"
    if len(set(records(out))) < answers:
        return "answering"
    return "reporting" if any(out.glob("runs/*/report.html")) else "concluding"


def test_killed_at_fifty_moments_it_ends_the_same(
    suite: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(suite, out)  # builds the miniature corpus, and is not timed
    (tmp_path / "manifests").symlink_to(out / "manifests")
    started = time.monotonic()
    (undisturbed,) = finish(suite, tmp_path)
    length = time.monotonic() - started
    expected = Counter(records(tmp_path))
    assert set(expected.values()) == {1}
    draw, number, met, left = random.Random(0), itertools.count(), Counter[str](), 0
    while met.total() < KILLS:
        root = tmp_path / f"{next(number)}"
        root.mkdir()
        (root / "manifests").symlink_to(out / "manifests")
        process = start(suite, root)
        process.join(draw.uniform(0, length))
        if process.exitcode is not None:
            continue
        process.kill()
        process.join()
        met[stage(root, len(expected))] += 1
        left += len(list(root.rglob(".*")))
        assert all(said == undisturbed for said in finish(suite, root))
        assert Counter(records(root)) == expected
        assert not list(root.rglob(".*"))
    with capsys.disabled():
        sys.stdout.write(f"\nundisturbed {length:.1f} s, killed while {dict(met)}, {left} half-written files swept\n")
    assert len(met) > 1
