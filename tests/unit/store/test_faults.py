"""Files that were cut or changed, writers that were killed, folders that take nothing: what is whole is read, and what
is not is said."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.shared_memory import sweep_regions
from harness.errors import DamagedWarning, StoreError
from harness.held import HELD, held, sweep
from harness.serving import TritonServer
from harness.store.cells import CellStore
from harness.store.files import write_atomic, writing
from harness.store.records import Record
from harness.store.runs import RunInfo, RunStore

KEY = "ab" * 32
APPENDS = (range(4), range(4, 6), range(6, 11))


def row(position: int) -> Record:
    failure = "image:truncated" if position % 5 == 3 else None
    scores = None if failure else (position / 8, -position / 8)
    return Record(position, f"set/{position}.png", f"source {position}", position % 2, scores, failure)


def filled(folder: Path) -> tuple[CellStore, list[Path]]:
    """Return a cell of several appends, and its parts in their order."""
    store = CellStore(folder)
    for positions in APPENDS:
        store.append(KEY, [row(position) for position in positions])
    return store, sorted(folder.rglob("*.parquet"))


def check_damaged(store: CellStore, lost: range, path: Path) -> None:
    """Check that the cell has all records but those of one part, and says which part it is."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = store.read(KEY)
        answered = store.answered(KEY).tolist()
    kept = [position for positions in APPENDS for position in positions if position not in lost]
    assert answered == table["position"].to_pylist() == kept
    assert table["sample"].to_pylist() == [row(position).sample for position in kept]
    assert {item.category for item in said} == {DamagedWarning}
    assert all(str(path) in str(item.message) for item in said)


@pytest.mark.parametrize(("name", "step"), [(None, 1), ("000000000-0123abcd.parquet", 11)])
def test_a_part_cut_at_any_byte(tmp_path: Path, name: str | None, step: int) -> None:
    store = CellStore(tmp_path)
    store.append(KEY, rows := [row(position) for position in APPENDS[0]])
    (part,) = tmp_path.rglob("*.parquet")
    cut = part.rename(part.with_name(name)) if name else part  # as earlier versions named it
    assert store.answered(KEY).tolist() == list(APPENDS[0])
    sizes = range(cut.stat().st_size - 1, -1, -step)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for size in sizes:
            os.truncate(cut, size)
            assert store.answered(KEY).tolist() == []
    assert len(said) == len(sizes)
    assert all(item.category is DamagedWarning and str(cut) in str(item.message) for item in said)
    store.append(KEY, rows)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore" if name else "error"
        )  # now the same records lie in the place of the damaged ones
        assert store.answered(KEY).tolist() == list(APPENDS[0])
    assert len(list(tmp_path.rglob("*.parquet"))) == (2 if name else 1)


@settings(deadline=None, max_examples=40)
@given(part=st.integers(0, 2), place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255), more=st.binary())
def test_records_changed_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, part: int, place: float, flip: int, more: bytes
) -> None:
    store, parts = filled(tmp_path_factory.mktemp("cells"))
    content = bytearray(parts[part].read_bytes())
    if flip:
        content[int(place * len(content))] ^= flip
    else:
        del content[int(place * len(content)) :]
    parts[part].write_bytes(bytes(content) + more)
    check_damaged(store, APPENDS[part], parts[part])


def test_damage_is_not_copied(tmp_path: Path) -> None:
    store, parts = filled(tmp_path / "from")
    os.truncate(parts[1], 100)
    with pytest.raises(StoreError, match=r"a whole part, got 100 bytes of another digest\. Run the suite again"):
        store.copy(KEY, CellStore(tmp_path / "to"))


def test_the_same_records_are_written_once(tmp_path: Path) -> None:
    store, parts = filled(tmp_path)
    state = store.state([KEY])
    filled(tmp_path)
    assert sorted(tmp_path.rglob("*.parquet")) == parts
    assert store.state([KEY]) == state


def test_a_run_that_was_cut_at_any_byte_is_none(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    whole = RunInfo(id="a", plan="p", suite="s", spec={}, status="interrupted", started="2026-01-01T00:00:00+00:00")
    store.save(whole)
    store.save(cut := whole.model_copy(update={"id": "b"}))
    path = store.folder("b") / "run.json"
    for size in reversed(range(path.stat().st_size - 1)):  # the last byte is a line's end
        os.truncate(path, size)
        with pytest.warns(DamagedWarning, match=r"b/run\.json: expected a readable run\.json"):
            assert store.unfinished("p") == whole
        with pytest.raises(StoreError, match="Delete the folder"):
            store.load("b")
    store.save(cut)
    assert store.load("b") == cut


def test_records_of_a_run_lie_at_a_url_or_below_its_root(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    info = RunInfo(id="a", plan="p", suite="s", spec={}, status="complete", started="2026-01-01T00:00:00+00:00")
    for records, readable in ((None, True), ("s3://bucket/x", True), ("../elsewhere", False), ("9" * 5000, False)):
        store.save(info.model_copy(update={"records": records}))
        with nullcontext() if readable else pytest.raises(StoreError, match="Delete the folder"):
            assert store.load("a").records == records


def test_every_write_below_a_file_is_refused_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file" / "out")
    with pytest.raises(StoreError, match=r"can be written, got Not a directory\. Free space or choose --out DIR"):
        store.cells.append(KEY, [row(0)])
    with pytest.raises(StoreError, match="Not a directory"):
        store.keep(KEY, b"")
    with pytest.raises(StoreError, match="Not a directory"), writing(tmp_path / "file" / "out" / "x", folder=True):
        pass
    assert store.cells.answered(KEY).tolist() == []
    assert store.all() == []
    store.sweep()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"earlier")
    with pytest.raises(StoreError, match="No space left on device"), writing(tmp_path / "x") as part:
        part.unlink()
        part.symlink_to("/dev/full")
        part.write_bytes(b"later")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x": b"earlier"}


def test_whoever_is_faster_with_a_folder_wins(tmp_path: Path) -> None:
    with writing(tmp_path / "x", folder=True) as mine:
        (mine / "mine").touch()
        with writing(tmp_path / "x", folder=True) as other:
            (other / "other").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["x", "x/other"]


WRITER = """
import os, sys, time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from harness.held import held
from harness.store.files import writing
with writing(Path(sys.argv[1], "cells/ab/x/file")) as file, held(Path(sys.argv[1], "folder"), folder=True) as folder:
    file.write_bytes(b"half")
    (folder / "inside").write_bytes(b"half")
    print(SharedMemory(f"discern-{os.getpid()}-0", create=True, size=4096).name, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        region = Path("/dev/shm", process.stdout.readline().strip())
        sweep(tmp_path, "**/.*")
        sweep_regions()
        assert len(list(tmp_path.rglob(f".*{HELD}"))) == 2
        assert region.is_file()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.rglob(f".*{HELD}"))) == 2
    (tmp_path / "cells" / ".mine").touch()
    sweep(tmp_path, "**/.*")
    assert {path.name for path in tmp_path.rglob("*")} == {"cells", "ab", "x", ".mine"}
    sweep_regions()
    assert not region.exists()


def test_the_folder_of_a_server_whose_starter_was_killed_is_swept_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = """
import sys, time
from pathlib import Path
from harness.serving.server import TritonServer
server = TritonServer(Path())
print(server.log.parent, flush=True)
time.sleep(600)
"""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, env=environ)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        living = TritonServer(tmp_path)
        assert left.is_dir()
    finally:
        process.kill()
        process.wait()
    TritonServer(tmp_path).stop()
    assert list(tmp_path.iterdir()) == [living.log.parent]
    living.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_beside_writers_hinders_none(tmp_path: Path) -> None:
    over = threading.Event()

    def sweeping() -> None:
        while not over.is_set():
            sweep(tmp_path, ".*")

    sweepers = [threading.Thread(target=sweeping) for _ in range(2)]
    for thread in sweepers:
        thread.start()
    try:
        for number in range(60):
            write_atomic(tmp_path / f"{number % 3}", str(number).encode())
            with held(tmp_path / "folder", folder=True) as folder:
                (folder / "x").touch()
    finally:
        over.set()
        for thread in sweepers:
            thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"0": "57", "1": "58", "2": "59"}
