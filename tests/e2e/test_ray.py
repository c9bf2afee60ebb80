"""A real Ray cluster of this machine's cores, one of whose workers is killed, and a real S3 server for its records."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from harness.events import Silent
from harness.run import Asked, run
from harness.store.cells import CellStore
from tests.buckets import bucket
from tests.clusters import check_records, kill, ray_run, workers_of, write_suite
from tests.e2e.commands import contents, folder_of

pytest.importorskip("ray", reason="the extra `ray` is not installed")

IMAGES = 48
RECORDS = "s3://discern/run"


def test_a_killed_worker_changes_nothing_and_records_go_to_s3(repository: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, repository, IMAGES)
    here = contents(run(Asked(suite, out=tmp_path / "here"), Silent()).folder)
    with bucket():
        with ray_run(suite, tmp_path / "there", "--records", RECORDS) as process:
            while not any(kill(worker) for worker in workers_of(process)):
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            out, err = process.communicate(timeout=300)
        there = folder_of(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        assert "a worker died, its shard is asked again" in err
        assert contents(there) == here
        check_records(CellStore(f"{RECORDS}/cells"), there, IMAGES)
        assert not list((tmp_path / "there").glob("cells/*/*/*.parquet"))
        said = json.loads((there / "run.json").read_text())
        assert (said["engine"], said["records"]) == ("ray", RECORDS)
        nowhere = Asked(suite, out=tmp_path / "there", engine="ray://127.0.0.1:1", records=RECORDS)
        again = run(nowhere, Silent())  # nothing is open: no cluster is looked for
        assert contents(again.folder) == here
