"""Writes the site of all runs under one root into a folder; reads every run, changes none, fetches nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import StoreError, problem
from harness.events import Events
from harness.site.entry import Entry, read_entry
from harness.site.index import make_index, model_files
from harness.site.pages import index_page, model_page
from harness.store.files import write_atomic

PAGE = "report.html"
CARRIED = (PAGE, "report.json", "tables/*.csv", "pictures/*.svg")
"""What the site takes over of a run's folder: its report and the files that the report points to."""

RUNS, MODELS = "runs", "models"
LIST = "files.txt"
"""Names the site's files below RUNS and MODELS, so that a later build knows which to remove."""


@dataclass(frozen=True, slots=True)
class Built:
    """A site that was written.

    Attributes:
        index: its first page.
        runs, models: how many it shows.
        unread: folders that could not be read, and why.
    """

    index: Path
    runs: int
    models: int
    unread: dict[str, str]


def build_site(root: Path, to: Path, events: Events) -> Built:
    """Write ``index.html``, ``models/*.html`` and ``runs/RUN/report.html`` with the files beside it.

    Reports are linked where the file system can (they then take no room), and copied where it can't.

    Args:
        root: folder that holds ``runs``.
        to: folder of the site; made, and pages in it replaced; those of runs and models that are gone are removed.
        events: told how far it is.

    Raises:
        StoreError: there is no run, or the folder can't be written.
    """
    folders = sorted(path for path in (root / "runs").glob("*") if path.is_dir())
    if not folders:
        do = "Run a suite first (harness run SUITE), or name the folder of runs: --out DIR"
        raise StoreError(problem(f"report {root / 'runs'}", "at least one run", "none", do))
    written: set[str] = set()
    entries = list(_read(folders, to, written, events))
    index = make_index(entries)
    files = model_files(index.models)
    events.begin("writing pages", len(files) + 1, "pages")
    for done, (model, name) in enumerate(files.items(), 1):
        write_atomic(to / MODELS / name, _encode(model_page(model, index.of(model))))
        written.add(f"{MODELS}/{name}")
        events.advance(done, len(files) + 1)
    write_atomic(to / "index.html", _encode(index_page(index, files)))
    _remove_gone(to, written)
    events.end()
    unread = {entry.folder: entry.trouble for entry in index.entries if entry.trouble}
    return Built(to / "index.html", len(entries), len(files), unread)


def _read(folders: list[Path], to: Path, written: set[str], events: Events) -> Iterator[Entry]:
    """Yield every run; its files are carried over, and added to ``written``."""
    events.begin("reading runs", len(folders), "runs")
    for done, folder in enumerate(folders, 1):
        page = (folder / PAGE).is_file()
        try:
            run = (folder / "run.json").read_bytes()
            report = (folder / "report.json").read_bytes() if (folder / "report.json").is_file() else None
        except OSError as error:
            yield Entry(folder.name, None, trouble=f"{Path(error.filename).name}: {error.strerror}", page=page)
        else:
            yield read_entry(folder.name, run, report, page)
        if page:
            written.update(_carry(folder, to / RUNS / folder.name))
        events.advance(done, len(folders))
    events.end()


def _carry(folder: Path, to: Path) -> Iterator[str]:
    """Link or copy a run's report, where the site does not have it yet as it is, and yield its files' names there."""
    if to.resolve() == folder.resolve():
        return
    inside = folder.resolve()
    for pattern in CARRIED:
        for source in folder.glob(pattern):
            if not source.resolve().is_relative_to(inside):
                continue  # a link out of the run: a site is shown to others
            target = to / source.relative_to(folder)
            try:
                if not _is_same(source, target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.unlink(missing_ok=True)
                    _link(source, target)
            except OSError as error:
                do = "Free space there, or name another folder: --to DIR"
                raise StoreError(problem(f"site {target}", "a place that can be written", str(error), do)) from error
            yield f"{RUNS}/{folder.name}/{target.relative_to(to).as_posix()}"


def _remove_gone(to: Path, written: set[str]) -> None:
    """Remove what an earlier build wrote into the site and this one did not, and nothing else."""
    listed = to / LIST
    earlier = listed.read_text(encoding="utf-8").split("\n") if listed.is_file() else []
    for name in sorted(set(earlier) - written):
        path = to / name
        mine = PurePosixPath(name).parts[:1] in ((RUNS,), (MODELS,)) and path.resolve().is_relative_to(to.resolve())
        if not mine or not path.is_file():
            continue
        path.unlink()
        for folder in path.parents:
            if folder == to or any(folder.iterdir()):
                break
            folder.rmdir()
    write_atomic(listed, _encode("\n".join(sorted(written))))


def _is_same(source: Path, target: Path) -> bool:
    if not target.exists():
        return False
    a, b = source.stat(), target.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
