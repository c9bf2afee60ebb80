"""The command line: puts the commands together and turns errors into exit codes. Does nothing itself."""

from __future__ import annotations

import os
import signal
import sys
import warnings

import typer

from harness.commands import compare, diff, models, probe, report, sql, suites
from harness.commands.console import err
from harness.errors import HarnessError
from harness.plain import plain

app = typer.Typer(
    name="harness",
    help="Serve and benchmark image models: run a suite, read a leaderboard, trust it.",
    epilog="Start with: harness run genimage_cross",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (suites, diff, models, probe, compare, report, sql):
    group.register(app)


def main() -> None:
    """Run the command line; every deliberate error ends in one message and its exit code."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the default one keeps what was freed
    warnings.filterwarnings("ignore", module="PIL")
    warnings.formatwarning = lambda message, *_: plain(f"warning: {message}\n")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops the job gets what Ctrl-C does
    try:
        app()
    except HarnessError as error:
        err.print(plain(f"error: {error}"), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
