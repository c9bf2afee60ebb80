"""harness serve, export, train and fingerprints: models on their way into a repository and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.console import Out, Settings, SuitePath, open_events, say, showing_events
from harness.shipped import REPOSITORY, find_repository


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example:\n\n  harness serve model_repository --model dif.miniature")(serve)
    app.command(
        epilog="Examples:\n\n  harness export dif.miniature"
        "\n\n  harness export resnet50.tv_float --weights DEFAULT --repository DIR"
        "\n\n  harness export mobilenet_v2.ort_int8 --weights FILE --images DIR --method Entropy --repository DIR"
        "\n\n  harness export dif.published --checkpoints DIR --filter bilateral --claims FILE --repository DIR"
        "\n\n  harness export gradcam --of cnnspot.mini_gan --layer last"
    )(export)
    app.command(
        epilog="Examples:\n\n  harness train suites/train/miniature.yaml --only 'cnnspot.*'"
        "\n\n  harness train FILE --init weights.pt --freeze 'layer1.*'"
        "\n\n  harness train suites/train/dif_miniature.yaml --only 'dif.samples_*' --samples 64 --samples 128"
        "\n\n  torchrun --nproc-per-node 8 -m harness train FILE"
    )(train)
    fingerprints = typer.Typer(help="Real images that fingerprints are taken against.", no_args_is_help=True)
    fingerprints.command(epilog="Example:\n\n  harness fingerprints fit suites/attribution.yaml")(fit)
    app.add_typer(fingerprints, name="fingerprints")


def serve(
    repository: Annotated[
        Path,
        typer.Argument(help="Model repository.", callback=find_repository, show_default="the one here, or shipped"),
    ] = REPOSITORY,
    model: Annotated[list[str] | None, typer.Option("--model", help="Load only these.")] = None,
    http_port: Annotated[int, typer.Option(help="HTTP port; 0 picks a free one.")] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0 picks a free one.")] = 8001,
    metrics_port: Annotated[int, typer.Option(help="Metrics port; 0 picks a free one.")] = 8002,
) -> None:
    """Serve a model repository with a real Triton on this machine, on loopback, until Ctrl-C."""
    from harness.serving import serve as serve_repository

    serve_repository(repository, model, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port, write=say)


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
    load_catalog().export_model(name, repository=repository, options=options, say=say)


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
    with showing_events() as events:
        trained, failed = training.train(asked, events)
    for item in trained:
        say(
            f"{item.name:<28} {item.figure}  {item.steps:>6,} steps  {item.seconds:>6,.0f} s"
            f"  loss {item.curve}  {item.folder}"
        )
    if failed:
        raise failed[0]


def fit(suite: SuitePath, settings: Settings = None, out_dir: Out = Path("reports")) -> None:
    """Fit every reference that a suite's models need, and say where it lies; a run does so by itself."""
    from harness.run import Asked, prepare
    from harness.store.runs import RunStore

    events = open_events()
    try:
        with prepare(Asked(suite, tuple(settings or ()), out_dir), RunStore(out_dir), events) as ready:
            references = ready.references
    finally:
        events.end()
    for item in references:
        say(f"{item.described}\n  {item.folder}  {item.bytes / 1e6:,.1f} MB, fitted in {item.about.seconds:,.1f} s")
