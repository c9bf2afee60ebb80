"""harness report: all runs as one static site."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog="Examples:\n\n  harness report --open\n\n  harness report --out reports --to public"
        "\n\nOne folder, no server and no network: copy it anywhere."
    )
    def report(
        out_dir: Annotated[Path, typer.Option("--out", help="Folder of runs.")] = Path("reports"),
        to: Annotated[
            Path | None, typer.Option("--to", help="Folder to write to.", show_default="OUT/site", file_okay=False)
        ] = None,
        open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    ) -> None:
        """Write all runs as one static site: a leaderboard over dates and endpoints, a page a model, every report."""
        from harness.commands.console import open_events, say
        from harness.site.build import build_site

        events = open_events()
        try:
            built = build_site(out_dir, to or out_dir / "site", events)
        finally:
            events.end()
        for folder, why in built.unread.items():
            say(f"left out: {folder}: {why}")
        say(f"{built.runs:,} runs, {built.models:,} models: {built.index}")
        if open_:
            webbrowser.open(built.index.resolve().as_uri())
