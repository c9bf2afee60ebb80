"""Whole runs on disks that are cut, full or closed: each ends in its reports or one message, and the next goes on."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.errors import DamagedWarning
from harness.events import Silent
from harness.run import Asked, run
from tests.e2e.commands import contents
from tests.noise import write_noise

SUITE = """\
name: disk
data: {{d: {{layout: real_fake, root: images}}}}
models: [{{name: scripted.hash, endpoint: '{endpoint}', options: {{batch: 3}}}}]
resamples: 100
tasks: [{{kind: detection, name: disk, data: d, degradations: [none, {{jpeg: {{quality: 65}}}}]}}]
report: {{mistakes: 0}}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    write_noise(folder / "images", 5, side=16)
    script = json.dumps({"card": {"name": "scripted.hash", "score": "statistic"}, "rule": "hash"})
    (folder / "disk.yaml").write_text(SUITE.format(endpoint=f"scripted:{script}"), encoding="utf-8")
    return folder / "disk.yaml"


@pytest.fixture(scope="module")
def undisturbed(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(Asked(suite, out=tmp_path_factory.mktemp("undisturbed")), Silent()).folder


def test_whatever_file_of_a_run_is_cut_the_next_one_ends_the_same(
    suite: Path, undisturbed: Path, tmp_path: Path
) -> None:
    draw, root = random.Random(0), undisturbed.parents[1]
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    folders = {path.parts[0]: path for path in files}
    assert folders.keys() == {"cells", "conclusions", "manifests", "runs"}
    own = [Path("runs", undisturbed.name, name) for name in ("run.json", "report.html")]
    for number, name in enumerate([*folders.values(), *own]):
        out = tmp_path / str(number)
        shutil.copytree(root, out)
        os.truncate(out / name, draw.randrange((out / name).stat().st_size))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            after = run(Asked(suite, out=out), Silent())
        assert after.reasons == ()
        assert contents(after.folder) == contents(undisturbed), name
        damaged = [str(item.message) for item in said if item.category is DamagedWarning]
        assert any(name.name in message for message in damaged) == (name.parts[0] == "cells" or name.name == "run.json")


HARNESS = """
import resource, shutil, subprocess, sys
from harness.cli import main

suite, limited, small, mounted = sys.argv[1:]

def harness(out, *words):
    sys.argv = ["harness", *words, "--out", out]
    try:
        main()
    except SystemExit as ended:
        print("ENDED", ended.code, file=sys.stderr, flush=True)
    else:
        print("ENDED 0", file=sys.stderr, flush=True)

def mount(options):
    subprocess.run(["mount", "-o", f"remount,{options}", small], check=True)

for limit in (1000, 4000, 10_000, 30_000, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    harness(limited, "run", suite)

if mounted == "True":
    for pages in (1, 3, 12, 20):
        mount(f"size={4 * pages}k")
        harness(small, "run", suite)
    mount("size=4m,ro")
    harness(small, "run", suite)
    harness(small, "list", "runs")
    mount("size=4m,rw")
    harness(small, "run", suite)
    shutil.copytree(small, small + "-copied")
"""


@pytest.fixture(scope="module")
def said(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, int]]]:
    """Where runs were whose files may not grow, and others on a small disk if it can be mounted; what each said."""
    folder = tmp_path_factory.mktemp("disks")
    (folder / "small").mkdir()
    mount = f"mount -t tmpfs -o size=4k tmpfs '{folder / 'small'}' && exec \"$@\""
    wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    mounted = shutil.which("unshare") is not None and not subprocess.run([*wrapper, "true"]).returncode
    words = [suite, folder / "limited", folder / "small", mounted]
    command = [*(wrapper if mounted else []), sys.executable, "-c", HARNESS, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    *told, rest = re.split(r"ENDED (\d+)\n", done.stderr)
    assert not rest
    return folder, [(message, int(code)) for message, code in zip(told[::2], told[1::2], strict=True)]


def check_the_same(out: Path, undisturbed: Path) -> None:
    """Check that there is one run, that it says what the undisturbed one says, and that nothing else is left."""
    (folder,) = (out / "runs").iterdir()
    assert contents(folder) == contents(undisturbed)
    assert not list(out.rglob(".*"))


def test_files_that_may_not_grow_end_a_run_in_one_message_and_the_next_goes_on(
    said: tuple[Path, list[tuple[str, int]]], undisturbed: Path
) -> None:
    folder, told = said
    assert [code for _, code in told[:5]] == [2, 2, 2, 2, 0]
    for message, _ in told[:4]:
        assert message.splitlines()[-1].endswith("File too large. Free space or choose --out DIR.")
    check_the_same(folder / "limited", undisturbed)


def test_a_full_and_a_closed_disk_end_a_run_in_one_message_and_the_next_goes_on(
    said: tuple[Path, list[tuple[str, int]]], undisturbed: Path
) -> None:
    folder, told = said
    if len(told) == 5:
        pytest.skip("this system lets nobody mount a small disk")
    assert [code for _, code in told[5:]] == [2, 2, 2, 2, 2, 0, 0]
    for message, _ in told[5:9]:
        assert message.splitlines()[-1].endswith("No space left on device. Free space or choose --out DIR.")
    assert told[9][0].endswith("Read-only file system. Free space or choose --out DIR.\n")
    check_the_same(folder / "small-copied", undisturbed)
