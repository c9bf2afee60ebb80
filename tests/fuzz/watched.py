"""Opens damaged files in a process that is watched: for its end, its time, its memory, and for what it must not do.

The parent knows which file was open when the child died or hung, and starts another child behind it.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import HarnessError

ROOT = Path(__file__).parents[2]

SECONDS = 30.0
"""A file that takes longer hangs, on a machine that others keep busy."""

MEMORY = 2 << 30
"""Bytes that opening one file may take beyond what the process had, resident or reserved."""

FORBIDDEN = re.compile(
    r"os\.(system|exec|posix_spawn|spawn|fork|forkpty|kill)|subprocess\..*|pty\..*|socket\.(connect|bind)|pickle\.find_class"
)
"""Audit events that no file may cause."""

WRITES = re.compile(r"os\.(mkdir|remove|rename|rmdir|link|symlink|chmod|truncate)|shutil\..*")
"""Those that it may cause in the folder of the test alone."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the kind.
        file: where one goes, below the folder that ``read`` is given.
        wholes: contents without damage.
        damage: one of them, the seeded source of chance, and all of them, to damaged content.
        read: opens it; returns anything or raises HarnessError.
        prepare: puts what has to stand beside it into the folder.
    """

    name: str
    file: str
    wholes: Callable[[], Sequence[bytes]]
    damage: Callable[[bytes, Random, Sequence[bytes]], bytes]
    read: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda folder: None

    def content(self, wholes: Sequence[bytes], seed: int) -> bytes:
        """Return the damaged file of a seed."""
        draw = Random(f"{self.name} {seed}")
        return self.damage(draw.choice(wholes), draw, wholes)


@dataclass
class Watched:
    """What became of the files of one kind.

    Attributes:
        outcomes: how many ended in which way: ``read``, or the class of the error.
        findings: those that must not be, each with its seed.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0


def watch(module: str, count: int, seconds: float = SECONDS) -> dict[str, Watched]:
    """Open ``count`` damaged files of every kind that a module's ``KINDS`` lists, after whole ones.

    Args:
        module: its name.
        count: seeds of each kind.
        seconds: that one file may take.
    """
    names = [kind.name for kind in importlib.import_module(module).KINDS]
    found = {name: Watched() for name in names}
    cases = [(name, seed) for name in names for seed in range(-1, count)]
    done = 0
    while done < len(cases):
        for name, seed, said in _child(module, cases[done:], seconds):
            done += 1
            mine = found[name]
            if "finding" in said:
                mine.findings.append(f"{name}, seed {seed}: {said['finding']}")
            else:
                mine.outcomes[said["outcome"]] += seed >= 0
                mine.slowest = max(mine.slowest, said["seconds"])
                mine.largest = max(mine.largest, said["bytes"])
    return found


def _child(module: str, cases: Sequence[tuple[str, int]], seconds: float) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield what became of each case, up to the one that the child died of."""
    with TemporaryDirectory(prefix="discern-fuzz-") as folder:
        log = Path(folder) / "stderr"
        environ = {**os.environ, "TMPDIR": folder, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.fuzz.watched", module, folder]
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            ) as child,
        ):
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(cases).encode())
            child.stdin.close()
            lines = _lines(child.stdout.fileno(), seconds)
            try:
                assert next(lines, None) is not None, f"no start:\n{log.read_text(errors='replace')[-3000:]}"
                for name, seed in cases:
                    line = next(lines, None)
                    if line is None:
                        if hung := child.poll() is None and not _ended(child):
                            child.send_signal(signal.SIGABRT)
                        code = child.wait()
                        why = f"no end within {seconds:.0f} s" if hung else f"the process died ({code})"
                        yield name, seed, {"finding": f"{why}\n{log.read_text(errors='replace')[-3000:]}"}
                        return
                    yield name, seed, json.loads(line)
            finally:
                child.kill()


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _lines(pipe: int, seconds: float) -> Iterator[bytes]:
    """Yield lines as they come; end where there is none within the time."""
    rest = b""
    limit = 120.0  # imports, on a busy machine
    while select.select([pipe], [], [], limit)[0] and (new := os.read(pipe, 1 << 16)):
        limit = seconds
        *whole, rest = (rest + new).split(b"\n")
        yield from whole


def main(module: str, folder: Path) -> None:
    """Open the cases that stdin lists, and say on stdout what became of each."""
    cases = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faulthandler.enable()
    kinds = {kind.name: kind for kind in importlib.import_module(module).KINDS}
    broken: list[str] = []
    wholes: Sequence[bytes] = ()
    print("ready", file=out, flush=True)
    current, limited = None, False
    for name, seed in cases:
        kind = kinds[name]
        place = folder / kind.name
        if current is not kind:
            current, wholes = kind, kind.wholes()
            place.mkdir(exist_ok=True)
            kind.prepare(place)
            (place / kind.file).parent.mkdir(parents=True, exist_ok=True)
        contents = [kind.content(wholes, seed)] if seed >= 0 else wholes
        said: dict[str, Any] = {}
        for content in contents:
            (place / kind.file).write_bytes(content)
            if seed >= 0 and not limited:
                _limit(folder, broken)
                limited = True
            said = _opened(kind, place, broken)
            if "finding" in said:
                break
        if seed < 0 and "finding" not in said and said["outcome"] != "read":
            said = {"finding": f"a whole file ends in {said['outcome']}"}
        print(json.dumps(said), file=out, flush=True)


def _opened(kind: Kind, place: Path, broken: list[str]) -> dict[str, Any]:
    broken.clear()
    before, start = _memory("VmRSS"), os.times().elapsed
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    finding, outcome = "", "read"
    try:
        kind.read(place)
    except HarnessError as error:
        outcome = type(error).__name__
        if any(isinstance(cause, MemoryError) for cause in _causes(error)):
            finding = f"out of memory: {traceback.format_exc()}"
        elif not str(error).strip():
            finding = "an error without a message"
    except BaseException:
        finding = traceback.format_exc()
    taken = _memory("VmHWM") - before
    if taken > MEMORY:
        finding = f"{taken >> 20} MiB resident"
    if broken:
        finding = f"it did {broken}"
    if finding:
        return {"finding": finding}
    return {"outcome": outcome, "seconds": os.times().elapsed - start, "bytes": taken}


def _limit(folder: Path, broken: list[str]) -> None:
    """Bound the address space, and note what no file may cause."""
    most = _memory("VmSize") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if FORBIDDEN.fullmatch(event):
            broken.append(event)
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or WRITES.fullmatch(event):
            path = arguments[0]
            allowed = (str(folder), "/dev/null", "/proc/self/")
            if not isinstance(path, int) and not os.fsdecode(path).startswith(allowed):
                broken.append(f"{event} {path!r}")

    sys.addaudithook(audit)


def _memory(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    match = re.search(rf"{field}:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) << 10


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
