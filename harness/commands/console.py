"""What commands share: the two consoles, progress, and arguments of one meaning. Knows no command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.errors import ExitCode
from harness.events import Events
from harness.plain import plain
from harness.progress import PlainEvents, TerminalEvents
from harness.shipped import find_repository, find_suite

out = Console()
err = Console(stderr=True)

SuitePath = Annotated[
    Path,
    typer.Argument(help="Suite file (YAML), or the name of a suite that ships.", dir_okay=False, callback=find_suite),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a suite key: --set data.x.root=/images")
]
Repository = Annotated[
    Path,
    typer.Option(help="Model repository; where there is none here, the one that ships.", callback=find_repository),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of runs, answers and manifests.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many images per subset.")]


def say(line: str) -> None:
    """Print a line as it is, but for what would steer the terminal."""
    out.print(plain(line), markup=False, highlight=False, soft_wrap=True)


AGAIN = "interrupted; run the same command again to go on where it stopped"


@contextmanager
def showing_events(interrupted: str = AGAIN) -> Iterator[Events]:
    """Show progress while a command works; Ctrl-C ends it with a word and its exit code."""
    events = open_events()
    try:
        yield events
    except KeyboardInterrupt:
        if interrupted:
            events.note(interrupted)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        events.end()


def open_events() -> Events:
    """Return what shows progress: a bar on a terminal, lines elsewhere."""
    return (
        TerminalEvents(err)
        if err.is_terminal
        else PlainEvents(lambda line: print(plain(line), file=sys.stderr, flush=True))
    )
