"""harness diff: where images differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.console import Repository, out, say, showing_events
from harness.errors import ExitCode
from harness.shipped import REPOSITORY


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples:\n\n  harness diff before.png after.png --register phase"
        "\n\n  harness diff before/ after/ --metric ssim --preprocess 'lowpass cutoff=0.3' --figure ms_ssim"
        "\n\n  harness diff A B --strategy gradient --metric lpips --weights squeeze"
        "\n\n  harness diff A B --postprocess 'smooth + percentile q=98 + cleanup'"
        "\n\n  harness diff A B --model cnnspot.mini_gan.gradcam"
        "\n\n  harness diff --found RUN --figure lpips --weights squeeze"
    )(diff)


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
    ] = "smooth + otsu + cleanup",
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
    repository: Repository = REPOSITORY,
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
    words += [f"weights={weights}"] if weights and "metric=lpips" in " ".join(words) else []
    asked = read_asked(parse_method(" ".join(words), preprocess, postprocess, register), figure or (), weights)
    failed, equal, shown = 0, 0, ""
    with showing_events("interrupted; what was compared so far is on disk") as events:
        paired = pair_paths(a, b) if a and b else pair_found(Path("reports") / "runs", str(found), events)
        folder = out_dir or Path("reports") / "diffs" / paired.name
        total = len(paired.pairs)
        with open_cams(asked.method.strategy, repository, endpoint) as cams:
            events.begin("comparing", total, "pairs")
            for done, told in enumerate(diff_pairs(paired, asked, cams, folder), start=1):
                events.advance(done, total)
                failed += bool(told.error)
                shown = shown or ("" if told.error else f", {told.pair.name}/sheet.png")
                equal += told.figures.get("mse") == 0
                if total == 1 and not told.error:
                    for part in pair_tables(told):
                        out.print(part)
                else:
                    say(pair_line(told))
    if total > 1 or paired.alone:
        for line in summary(paired, failed, equal):
            say(line)
    say(f"Written to {folder}: {TABLE}{shown}")
    if failed == total:
        raise typer.Exit(ExitCode.INVALID)
