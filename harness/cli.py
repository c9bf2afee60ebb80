"""The command line: reads arguments, shows progress and results, turns errors into exit codes. Does nothing itself."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.errors import ExitCode, HarnessError
from harness.events import Events
from harness.progress import PlainEvents, TerminalEvents

if TYPE_CHECKING:
    from harness.run import Asked, Estimated

app = typer.Typer(
    name="harness",
    help="Serve and benchmark image models: run a suite, read a leaderboard, trust it.",
    epilog="Start with: harness run suites/genimage_cross.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

out = Console()
err = Console(stderr=True)

SuitePath = Annotated[Path, typer.Argument(help="Suite file (YAML).", dir_okay=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a suite key: --set data.x.root=/images")
]
Out = Annotated[Path, typer.Option("--out", help="Folder of runs, answers and manifests.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many images per subset.")]


@app.command(
    epilog="Examples:\n\n  harness run suites/genimage_cross.yaml\n\n  harness run SUITE --serve triton"
    "\n\n  harness run SUITE --limit 10 --dry-run"
)
def run(
    suite: SuitePath,
    settings: Settings = None,
    out_dir: Out = Path("reports"),
    limit: Limit = None,
    serve: Annotated[
        str | None,
        typer.Option("--serve", help="Serve the repository's models for this run: triton.", metavar="SERVER"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and what it would cost.")
    ] = False,
) -> None:
    """Run a suite and print its leaderboard; goes on where an earlier run was cut off."""
    from harness.run import Asked

    if serve not in (None, "triton"):
        raise typer.BadParameter(f"expected triton, got {serve!r}", param_hint="--serve")
    _run(Asked(suite, tuple(settings or ()), out_dir, limit, serve == "triton"), dry_run)


@app.command(epilog="Example:\n\n  harness resume 20260131T120000-genimage_cross-1a2b3c")
def resume(
    run_id: Annotated[str, typer.Argument(help="Name of a run folder.", metavar="RUN")], out_dir: Out = Path("reports")
) -> None:
    """Go on with a run that was cut off, with the arguments it was started with."""
    from harness.run import Asked
    from harness.store.runs import RunStore

    info = RunStore(out_dir).load(run_id)
    _run(Asked(Path(info.suite), info.settings, out_dir, info.limit, info.served is not None), dry_run=False)


def _run(asked: Asked, dry_run: bool) -> None:
    from harness.report import print_report
    from harness.run import estimate
    from harness.run import run as run_suite

    events = _events()
    try:
        if dry_run:
            _print_estimate(estimate(asked, events))
            return
        finished = run_suite(asked, events)
    except KeyboardInterrupt:
        events.note("interrupted; run the same command again to go on where it stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        events.end()
    print_report(finished.report, out)
    out.print(f"\nReport: {finished.folder / 'report.html'}", soft_wrap=True, highlight=False)
    if finished.reasons:
        raise typer.Exit(ExitCode.INVALID)


@app.command(epilog="Example:\n\n  harness validate suites/genimage_cross.yaml --set seed=1")
def validate(suite: SuitePath, settings: Settings = None) -> None:
    """Check a suite file without running it."""
    from harness.spec.load import load_suite

    checked = load_suite(suite, settings or ())
    out.print(
        f"{suite}: valid. {len(checked.tasks)} task(s), {len(checked.models)} model entr(ies), data: "
        f"{', '.join(checked.data) or 'none'}.",
        highlight=False,
        soft_wrap=True,
    )


@app.command(name="list", epilog="Examples:\n\n  harness list models\n\n  harness list degradations")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="models, data, degradations, searchers, tasks, exports, architectures, attributors, augmentations"
            " or runs."
        ),
    ],
    repository: Annotated[Path, typer.Option(help="Model repository.")] = Path("model_repository"),
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
        out.print(f"{name:<{width}}  {text}".rstrip(), markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example:\n\n  harness serve model_repository --model dif.miniature")
def serve(
    repository: Annotated[Path, typer.Argument(help="Model repository.")] = Path("model_repository"),
    model: Annotated[list[str] | None, typer.Option("--model", help="Load only these.")] = None,
    http_port: Annotated[int, typer.Option(help="HTTP port; 0 picks a free one.")] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0 picks a free one.")] = 8001,
    metrics_port: Annotated[int, typer.Option(help="Metrics port; 0 picks a free one.")] = 8002,
) -> None:
    """Serve a model repository with a real Triton on this machine, on loopback, until Ctrl-C."""
    from harness.serving import serve as serve_repository

    serve_repository(repository, model, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port, write=_say)


@app.command(
    epilog="Examples:\n\n  harness export dif.miniature"
    "\n\n  harness export resnet50.tv_float --weights DEFAULT --repository DIR"
    "\n\n  harness export mobilenet_v2.ort_int8 --weights FILE --images DIR --method Entropy --repository DIR"
    "\n\n  harness export dif.published --checkpoints DIR --filter bilateral --claims FILE --repository DIR"
)
def export(
    name: Annotated[str, typer.Argument(help="What to export; harness list exports shows the names.")],
    repository: Annotated[Path, typer.Option(help="Model repository to write to.")] = Path("model_repository"),
    device: Annotated[str | None, typer.Option(help="Where Triton runs it: cpu, gpu or auto.")] = None,
    checkpoints: Annotated[str | None, typer.Option(help="Folder of published checkpoints.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Residual filter: bilateral, or a weights file.")
    ] = None,
    claims: Annotated[str | None, typer.Option(help="CSV of published figures.")] = None,
    tag: Annotated[str | None, typer.Option(help="Last part of the entry's name.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="A classifier's weights: a name of torchvision's, a file, or seeded:N.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Folder of calibration images, for quantization.")] = None,
    method: Annotated[str | None, typer.Option(help="Calibration: MinMax, Entropy or Percentile.")] = None,
    with_gradient: Annotated[
        bool, typer.Option("--with-gradient", help="Write NAME.gradient too: loss and gradient by the image.")
    ] = False,
    reduce_range: Annotated[
        bool, typer.Option("--reduce-range", help="Weights of 7 bits, for processors without VNNI.")
    ] = False,
) -> None:
    """Turn weights into a model repository entry, and prove that it answers as they do."""
    from harness.listing import load_catalog

    given = {
        "device": device,
        "checkpoints": checkpoints,
        "filter": filter_,
        "claims": claims,
        "tag": tag,
        "weights": weights,
        "images": images,
        "method": method,
        "reduce_range": "yes" if reduce_range else None,
        "with_gradient": "yes" if with_gradient else None,
    }
    options = {key: value for key, value in given.items() if value is not None}
    load_catalog().export_model(name, repository=repository, options=options, say=_say)


@app.command(
    epilog="Examples:\n\n  harness train suites/train/miniature.yaml --only 'cnnspot.*'"
    "\n\n  harness train FILE --init weights.pt --freeze 'layer1.*'"
    "\n\n  harness train suites/train/dif_miniature.yaml --only 'dif.samples_*' --samples 64 --samples 128"
    "\n\n  torchrun --nproc-per-node 8 -m harness train FILE"
)
def train(
    file: Annotated[Path, typer.Argument(help="Training file (YAML).", dir_okay=False)],
    settings: Settings = None,
    out_dir: Out = Path("reports"),
    only: Annotated[list[str] | None, typer.Option("--only", help="Only entries of these names (wildcards).")] = None,
    init: Annotated[str | None, typer.Option(help="First weights: scratch, imagenet or a file.")] = None,
    freeze: Annotated[
        list[str] | None, typer.Option("--freeze", help="Parameters that stay as they are (wildcards).")
    ] = None,
    samples: Annotated[
        list[int] | None, typer.Option("--samples", min=1, help="Images of each class a fingerprint is trained on.")
    ] = None,
) -> None:
    """Train detectors, fingerprints and attributors into the model repository; goes on where it was cut off."""
    from harness.listing import load_training

    training = load_training()
    asked = training.Asked(file, tuple(settings or ()), out_dir, tuple(only or ()), init, freeze, samples)
    events = _events()
    try:
        trained, failed = training.train(asked, events)
    except KeyboardInterrupt:
        events.note("interrupted; run the same command again to go on where it stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        events.end()
    for item in trained:
        _say(
            f"{item.name:<28} {item.figure}  {item.steps:>6,} steps  {item.seconds:>6,.0f} s"
            f"  loss {item.curve}  {item.folder}"
        )
    if failed:
        raise failed[0]


fingerprints = typer.Typer(help="Real images that fingerprints are taken against.", no_args_is_help=True)
app.add_typer(fingerprints, name="fingerprints")


@fingerprints.command(epilog="Example:\n\n  harness fingerprints fit suites/attribution.yaml")
def fit(suite: SuitePath, settings: Settings = None, out_dir: Out = Path("reports")) -> None:
    """Fit every reference that a suite's models need, and say where it lies; a run does so by itself."""
    from harness.run import Asked, prepare
    from harness.store.runs import RunStore

    events = _events()
    try:
        with prepare(Asked(suite, tuple(settings or ()), out_dir), RunStore(out_dir), events) as ready:
            references = ready.references
    finally:
        events.end()
    for item in references:
        _say(f"{item.described}\n  {item.folder}  {item.bytes / 1e6:,.1f} MB, fitted in {item.about.seconds:,.1f} s")


@app.command(hidden=True)
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
        _say(f"{task}: {len(cells)} cells, {images:,} images, {sum(c.images for c in cells):,} answers")
        for name in dict.fromkeys(cell.degradation for cell in cells):
            _say(f"  {name}")
    for search in found.plan.searches:
        most = parse_searcher(search.searcher)
        gradients = f" and {most.gradients} gradients" if most.needs_gradient else ""
        _say(
            f"{search.task}: {search.roles.name}, {most.title}: up to {search.images:,} searches of at most"
            f" {most.queries} queries to either model{gradients} each"
        )
    minutes, seconds = divmod(round(found.seconds), 60)
    _say(
        f"to ask: {found.open:,} answers in {found.requests:,} requests, about {minutes}:{seconds:02} of inference,"
        f" {found.bytes / 1e6:.1f} MB of records (the others are on disk)"
    )


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _events() -> Events:
    return (
        TerminalEvents(err) if err.is_terminal else PlainEvents(lambda line: print(line, file=sys.stderr, flush=True))
    )


def main() -> None:
    """Run the command line; every deliberate error ends in one message and its exit code."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the default one keeps what was freed
    warnings.filterwarnings("ignore", module="PIL")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops the job gets what Ctrl-C does
    try:
        app()
    except HarnessError as error:
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
