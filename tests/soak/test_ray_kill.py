"""Workers of a Ray cluster killed at random moments: the leaderboard stays the same to the byte, no record twice."""

import math
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from harness.events import Silent
from harness.run import Asked, run
from harness.store.cells import CellStore
from tests.clusters import check_records, kill, ray_run, workers_of, write_suite
from tests.e2e.commands import contents, folder_of

pytest.importorskip("ray", reason="the extra `ray` is not installed")

KILLS = 20
SETS, IMAGES = 20, 50
LIFE_S = 2.0, 16.0
"""Seconds of a core that a worker is given, drawn anew for each: from its imports to its third shard or so."""


def test_twenty_killed_workers_change_nothing(repository: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, repository, IMAGES, SETS)
    here = contents(run(Asked(suite, out=tmp_path / "here"), Silent()).folder)
    draw = random.Random(0)
    lives: dict[int, float] = {}
    killed = 0
    with ray_run(suite, tmp_path / "there") as process:
        while killed < KILLS:
            assert process.poll() is None, (killed, process.communicate())
            for worker in workers_of(process):
                lives.setdefault(worker.pid, draw.uniform(*LIFE_S))
                if killed < KILLS and lived(worker) > lives[worker.pid] and kill(worker):
                    killed, lives[worker.pid] = killed + 1, math.inf
            time.sleep(0.05)
        out, err = process.communicate(timeout=1800)
    there = folder_of(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    assert err.count("a worker died, its shard is asked again") == KILLS
    assert contents(there) == here
    check_records(CellStore(tmp_path / "there" / "cells"), there, IMAGES)


def lived(worker: psutil.Process) -> float:
    """Return the seconds of a core that a process has used; 0 where it is gone."""
    try:
        said = worker.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return said.user + said.system


def test_a_shard_that_no_worker_lives_through_ends_the_run(repository: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, repository, 8)
    with ray_run(suite, tmp_path / "out") as process:
        while process.poll() is None:
            for worker in workers_of(process):
                kill(worker)
            time.sleep(0.02)
        _, err = process.communicate()
    assert process.returncode == 4, err
    assert "a worker that lives through it" in err
    assert "Traceback" not in err
