"""Shows a run's progress: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from harness.plain import plain

PLAIN_EVERY_S = 10.0
"""Seconds between plain lines."""


class TerminalEvents:
    """Events as a rich progress bar with rate and time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress: Progress | None = None
        self.bar: TaskID | None = None
        self.meter = Meter(time.monotonic)

    def begin(self, task: str, total: int, unit: str) -> None:
        """Open a bar."""
        self.end()
        self.meter.start()
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit + " {task.fields[rate]} {task.fields[extra]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar = self.progress.add_task(task, total=total or None, rate="", extra="")
        self.progress.start()

    def advance(self, done: int, total: int, extra: str = "") -> None:
        """Move the bar."""
        if self.progress is not None and self.bar is not None:
            rate = self.meter.rate(done)
            self.progress.update(
                self.bar,
                completed=done,
                total=total or None,
                rate=f"{rate:,.0f}/s" if rate else "",
                extra=escape(plain(extra)),
            )

    def end(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
        self.progress = None

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        self.console.print(plain(message), style="yellow", markup=False, highlight=False)


class PlainEvents:
    """Events as a line every few seconds, for logs."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.write = write
        self.clock = clock
        self.meter = Meter(clock)
        self.said = clock()
        self.stage = ("", "")

    def begin(self, task: str, total: int, unit: str) -> None:
        """Remember the stage; nothing is printed until it lasts."""
        self.stage = (task, unit)
        self.said = self.clock()
        self.meter.start()

    def advance(self, done: int, total: int, extra: str = "") -> None:
        """Print a line where the last one is old."""
        now, rate = self.clock(), self.meter.rate(done)
        if now - self.said < PLAIN_EVERY_S:
            return
        self.said = now
        task, unit = self.stage
        left = f", {_seconds((total - done) / rate)} left" if rate and total else ""
        share = f" ({done / total:.0%})" if total else ""
        self.write(f"{task}: {done:,}/{total or '?'} {unit}{share}, {rate:,.1f}/s{left} {extra}".rstrip())

    def end(self) -> None:
        """Print nothing."""

    def note(self, message: str) -> None:
        """Print the line."""
        self.write(message)


class Meter:
    """Rate of a stage since its first report, so that what was on disk already does not count as speed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.start()

    def start(self) -> None:
        """Forget what was measured."""
        self.origin: tuple[float, int] | None = None

    def rate(self, done: int) -> float:
        """Return units per second; 0 while nothing is known."""
        now = self.clock()
        if self.origin is None:
            self.origin = (now, done)
        seconds = now - self.origin[0]
        return (done - self.origin[1]) / seconds if seconds > 0.2 else 0.0


def _seconds(value: float) -> str:
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
