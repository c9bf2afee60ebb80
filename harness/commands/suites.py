"""harness run, resume, validate and list: suites, and what they can name."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.console import Limit, Out, Repository, Settings, SuitePath, out, say, showing_events
from harness.errors import ExitCode
from harness.shipped import REPOSITORY
from harness.spec.words import ENGINE

if TYPE_CHECKING:
    from harness.run import Asked, Estimated


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples:\n\n  harness run genimage_cross\n\n  harness run SUITE --serve triton"
        "\n\n  harness run SUITE --engine ray --records s3://BUCKET/PREFIX\n\n  harness run SUITE --limit 10 --dry-run"
    )(run)
    app.command(epilog="Example:\n\n  harness resume 20260131T120000-genimage_cross-1a2b3c")(resume)
    app.command(epilog="Example:\n\n  harness validate suites/genimage_cross.yaml --set seed=1")(validate)
    app.command(
        name="list", epilog="Examples:\n\n  harness list suites\n\n  harness list models\n\n  harness list degradations"
    )(list_)
    app.command(hidden=True)(schema)


def run(
    suite: SuitePath,
    settings: Settings = None,
    out_dir: Out = Path("reports"),
    limit: Limit = None,
    serve: Annotated[
        str | None,
        typer.Option("--serve", help="Serve the repository's models for this run: triton.", metavar="SERVER"),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="What answers: local, ray (workers on this machine) or ray://HOST:PORT; as the suite says."
        ),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(
            "--records", metavar="URL", help="Where records go: s3://, gs://, file://; below --out by default."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and what it would cost.")
    ] = False,
) -> None:
    """Run a suite and print its leaderboard; goes on where an earlier run was cut off."""
    from harness.run import Asked

    if serve not in (None, "triton"):
        raise typer.BadParameter(f"expected triton, got {serve!r}", param_hint="--serve")
    if engine is not None and not re.fullmatch(ENGINE, engine):
        raise typer.BadParameter(f"expected local, ray or ray://HOST:PORT, got {engine!r}", param_hint="--engine")
    if records is not None and "://" not in records:
        raise typer.BadParameter(f"expected a URL, got {records!r}", param_hint="--records")
    _run(Asked(suite, tuple(settings or ()), out_dir, limit, serve == "triton", engine, records), dry_run)


def resume(
    run_id: Annotated[str, typer.Argument(help="Name of a run folder.", metavar="RUN")], out_dir: Out = Path("reports")
) -> None:
    """Go on with a run that was cut off, with the arguments it was started with."""
    from harness.run import Asked
    from harness.store.runs import RunStore

    info = RunStore(out_dir).load(run_id)
    served = info.served is not None
    asked = Asked(Path(info.suite), info.settings, out_dir, info.limit, served, info.engine, info.records, run_id)
    _run(asked, dry_run=False)


def _run(asked: Asked, dry_run: bool) -> None:
    from harness.report import print_report
    from harness.run import estimate
    from harness.run import run as run_suite

    with showing_events() as events:
        if dry_run:
            _print_estimate(estimate(asked, events))
            return
        finished = run_suite(asked, events)
    print_report(finished.report, out)
    say(f"\nReport: {finished.folder / 'report.html'}")
    if finished.reasons:
        raise typer.Exit(ExitCode.INVALID)


def validate(suite: SuitePath, settings: Settings = None) -> None:
    """Check a suite file without running it."""
    from harness.spec.load import load_suite

    checked = load_suite(suite, settings or ())
    say(
        f"{suite}: valid. {len(checked.tasks)} task(s), {len(checked.models)} model entr(ies), data: "
        f"{', '.join(checked.data) or 'none'}."
    )


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="suites, models, data, degradations, searchers, strategies, preprocessors, postprocessors, tasks,"
            " exports, architectures, attributors, augmentations or runs."
        ),
    ],
    repository: Repository = REPOSITORY,
    out_dir: Out = Path("reports"),
) -> None:
    """List what a suite can name."""
    from harness.listing import LISTINGS
    from harness.names import did_you_mean

    if what not in LISTINGS:
        raise typer.BadParameter(f"{what!r} can't be listed. {did_you_mean(what, list(LISTINGS))}", param_hint="WHAT")
    rows = LISTINGS[what](repository, out_dir)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        say(f"{name:<{width}}  {text}".rstrip())


def schema() -> None:
    """Print the JSON Schema of suites."""
    from harness.spec.schema import suite_schema

    sys.stdout.write(suite_schema())


def _print_estimate(found: Estimated) -> None:
    """Print what a run would take."""
    from harness.search.registry import parse_searcher

    for task in dict.fromkeys(cell.task for cell in found.plan.cells):
        cells = found.plan.of(task)
        images = sum({(c.subset, c.split): c.images for c in cells}.values())
        say(f"{task}: {len(cells)} cells, {images:,} images, {sum(c.images for c in cells):,} answers")
        for name in dict.fromkeys(cell.degradation for cell in cells):
            say(f"  {name}")
    for task in dict.fromkeys(cell.task for cell in found.plan.differences):
        drawings = found.plan.differences_of(task)
        say(f"{task}: {len(drawings):,} cells, {sum(cell.records for cell in drawings):,} maps held against changes")
    for search in found.plan.searches:
        most = parse_searcher(search.searcher)
        gradients = f" and {most.gradients} gradients" if most.needs_gradient else ""
        say(
            f"{search.task}: {search.roles.name}, {most.title}: up to {search.images:,} searches of at most"
            f" {most.queries} queries to either model{gradients} each"
        )
    minutes, seconds = divmod(round(found.seconds), 60)
    say(
        f"to ask: {found.open:,} answers in {found.requests:,} requests, about {minutes}:{seconds:02} of inference,"
        f" {found.bytes / 1e6:.1f} MB of records (the others are on disk)"
    )
