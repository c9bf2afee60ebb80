"""``python -m export.training STAGE``: train again what ships."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from export.training import shipped
from export.training.augment_sheet import sheet

app = typer.Typer(help="Train again what ships: generators, then filter, then fingerprints.", no_args_is_help=True)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


@app.command()
def generators(out: Path = shipped.GRAPHS, steps: int = 1200, seed: int = 0) -> None:
    """The miniature corpus' eight generators."""
    for name, quality in shipped.generators(out, steps=steps, seed=seed, say=_say).items():
        typer.echo(f"{name}: {quality:.1f} dB")


@app.command(name="filter")
def residual_filter(
    out: Path = shipped.WEIGHTS / shipped.FILTER,
    photographs: Annotated[
        Path | None, typer.Option(help="Folder of photographs to train another, deeper filter on.")
    ] = None,
    steps: int | None = None,
    seed: int = 0,
) -> None:
    """The DnCNN residual filter: the one that ships, or one of your own photographs."""
    if photographs is None:
        shipped.residual_filter(out, steps=steps or 2500, seed=seed, say=_say)
    else:
        shipped.filter_of_photographs(photographs, out, steps=steps or 3000, seed=seed, say=_say)


@app.command()
def fingerprints(
    corpus: Annotated[Path, typer.Option(help="Where the corpus is built.")] = Path("reports/manifests"),
    residual: Annotated[str, typer.Option(help="Residual filter: dncnn or bilateral.")] = "dncnn",
    out: Path = shipped.WEIGHTS,
    steps: int = 400,
    seed: int = 0,
) -> None:
    """The bank of DIF fingerprints."""
    for name, item in shipped.fingerprints(corpus, residual, out, steps=steps, seed=seed, say=_say).items():
        typer.echo(f"{name}: val AUROC {item.validation_auroc:.3f} after {item.steps} steps")


@app.command()
def augmentations(out: Path = Path("docs/augmentation.png")) -> None:
    """Draw what every augmentation does to a photograph and its spectrum."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet().save(out, optimize=True)


if __name__ == "__main__":
    app()
