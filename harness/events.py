"""What a run tells while it goes; the command line shows it, tests record it."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """Receiver of progress. Called from one thread."""

    def begin(self, task: str, total: int, unit: str) -> None:
        """A stage of ``total`` units starts (0 where the total is not known yet)."""
        ...

    def advance(self, done: int, total: int, extra: str = "") -> None:
        """So many units of the stage are done."""
        ...

    def end(self) -> None:
        """The stage is over."""
        ...

    def note(self, message: str) -> None:
        """Something worth a line happened."""
        ...


class Silent:
    """Drops everything."""

    def begin(self, task: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int, extra: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""
