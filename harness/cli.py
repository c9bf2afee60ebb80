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
            help="models, data, degradations, searchers, strategies, preprocessors, postprocessors, tasks, exports,"
            " architectures, attributors, augmentations or runs."
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


@app.command(
    epilog="Examples:\n\n  harness diff before.png after.png --register phase"
    "\n\n  harness diff before/ after/ --metric ssim --preprocess 'lowpass cutoff=0.3' --figure ms_ssim"
    "\n\n  harness diff A B --strategy gradient --metric lpips --weights squeeze"
    "\n\n  harness diff A B --postprocess 'smooth + percentile q=98 + cleanup'"
    "\n\n  harness diff A B --model cnnspot.mini_gan.gradcam"
    "\n\n  harness diff --found RUN --figure lpips --weights squeeze"
)
def diff(
    a: Annotated[Path | None, typer.Argument(help="An image, or a folder of them.", show_default=False)] = None,
    b: Annotated[Path | None, typer.Argument(help="What it is held against.", show_default=False)] = None,
    strategy: Annotated[
        str | None, typer.Option(help="difference, gradient (extra: export) or gradcam.", show_default="difference")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Of the strategy: mae, mse, psnr, ssim, ms_ssim, lpips, dice or jaccard.")
    ] = None,
    preprocess: Annotated[
        str, typer.Option(help="Of both images: identity, normalize, highpass, lowpass or wavelet.")
    ] = "identity",
    postprocess: Annotated[
        str, typer.Option(help="From map to mask; identity for a map alone: harness list postprocessors.")
    ] = "otsu + cleanup",
    register: Annotated[str, typer.Option(help="Where B may be moved: none, phase (a shift) or ecc.")] = "none",
    figure: Annotated[
        list[str] | None, typer.Option("--figure", help="One more: ms_ssim, lpips (extra: export), dice, jaccard.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Of lpips: squeeze, alex, vgg, or one with its file: squeeze:FILE.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="NAME.gradcam, whose attention is held against each other.", metavar="NAME")
    ] = None,
    repository: Annotated[Path, typer.Option(help="Model repository it is in.")] = Path("model_repository"),
    endpoint: Annotated[str | None, typer.Option(help="An address that answers in its place.")] = None,
    found: Annotated[
        str | None, typer.Option(help="A disagreement run: its found images against their seeds.", metavar="RUN")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to.", show_default="reports/diffs/A-B")
    ] = None,
) -> None:
    """Find where images differ: two files, two folders, or what a run found and its seeds. Opens nothing.

    Writes map.npy (float32), map.png, mask.png, overlay.png and sheet.png for each pair into OUT/NAME, and figures.csv,
    a row at a time. Folders are paired by path, then by path without suffix; names without a partner are reported.

    Images become RGB in [0, 1]: turned upright as EXIF says, gray repeated, alpha laid over white, 16 bits a channel
    rounded to 8. Images of two sizes, damaged or over 80 million pixels cost a row, not the run.
    """
    from harness.data.paired import pair_paths
    from harness.difference import parse_method
    from harness.diffs import TABLE, diff_pairs, open_cams, read_asked
    from harness.found_pairs import pair_found
    from harness.report.diffed import pair_line, pair_tables, summary

    if found is None and (a is None or b is None):
        raise typer.BadParameter("expected two images or folders, or --found RUN", param_hint="A B")
    if found is not None and (a or b):
        raise typer.BadParameter("expected A and B, or --found RUN, got both", param_hint="--found")
    words = [strategy or ("gradcam" if model else "difference")]
    words += [f"{key}={value}" for key, value in (("metric", metric), ("model", model)) if value]
    asked = read_asked(parse_method(" ".join(words), preprocess, postprocess, register), figure or (), weights)
    events = _events()
    failed = equal = 0
    try:
        paired = pair_paths(a, b) if a and b else pair_found(Path("reports") / "runs", str(found), events)
        folder = out_dir or Path("reports") / "diffs" / paired.name
        total = len(paired.pairs)
        with open_cams(asked.method.strategy, repository, endpoint) as cams:
            events.begin("comparing", total, "pairs")
            for done, told in enumerate(diff_pairs(paired, asked, cams, folder), start=1):
                events.advance(done, total)
                failed += bool(told.error)
                equal += told.figures.get("mse") == 0
                if total == 1 and not told.error:
                    for part in pair_tables(told):
                        out.print(part)
                else:
                    _say(pair_line(told))
    except KeyboardInterrupt:
        events.note("interrupted; what was compared so far is on disk")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        events.end()
    if total > 1 or paired.alone:
        for line in summary(paired, failed, equal):
            _say(line)
    _say(f"Written to {folder}: {TABLE}" + ("" if failed == total else f", {paired.pairs[0].name}/sheet.png"))
    if failed == total:
        raise typer.Exit(ExitCode.INVALID)


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
    "\n\n  harness export gradcam --of cnnspot.mini_gan --layer last"
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
    of: Annotated[str | None, typer.Option(help="Entry of the repository that gradcam explains.")] = None,
    layer: Annotated[
        str | None, typer.Option(help="Value of its graph that gradcam takes, (batch, C, h, w), or last.")
    ] = None,
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
        "of": of,
        "layer": layer,
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
    for task in dict.fromkeys(cell.task for cell in found.plan.differences):
        drawings = found.plan.differences_of(task)
        _say(f"{task}: {len(drawings):,} cells, {sum(cell.records for cell in drawings):,} maps held against changes")
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
