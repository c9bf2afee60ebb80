"""``python -m export.training STAGE``: train again what ships."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from math import log10
from pathlib import Path
from typing import Annotated

import typer

from export.training import shipped
from export.training.augment_sheet import sheet
from export.training.dif import UPS
from export.training.gray import train_gray
from harness.data.miniature.designs import DESIGNS

app = typer.Typer(help="Train again what ships: generators, then the filter of residuals.", no_args_is_help=True)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


@app.command()
def generators(
    out: Path = shipped.GRAPHS,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these (wildcards).")] = None,
    steps: int | None = None,
    seed: int = 0,
) -> None:
    """The miniature corpora's generators, children after their parents."""
    names = [name for name in DESIGNS if not only or any(fnmatchcase(name, wanted) for wanted in only)]
    for name, quality in shipped.generators(out, names, steps=steps, seed=seed, say=_say).items():
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
def align(
    corpus: Annotated[Path, typer.Option(help="Where the corpus is built.")] = Path("reports/manifests"),
    out: Path = shipped.WEIGHTS,
) -> None:
    """The centres of the shipped bank where it searches shifts."""
    bank = shipped.align(corpus, out, say=_say)
    for name, real, fake in zip(bank.names, bank.mu_real, bank.mu_fake, strict=True):
        typer.echo(f"{name}: reals {real:.4f}, fakes {fake:.4f}")


@app.command()
def gray(out: Path = Path("suites/artifacts"), seed: int = 0) -> None:
    """What a network that is to paint a constant gray leaves in it, for each way to enlarge."""
    for up in UPS:
        history = train_gray(up=up, seed=seed, report=lambda step, loss: _say(f"step {step}, loss {loss:.2e}"))
        history.save(out / f"dif_gray_{up}.npz")
        typer.echo(f"{up}: {10 * log10(1 / history.losses[-1]):.1f} dB after {history.steps[-1]} steps")


@app.command()
def embedders(out: Path = shipped.WEIGHTS, steps: int = 200, seed: int = 0) -> None:
    """The embedders of small crops, supervised and self-supervised."""
    shipped.embedders(out, steps=steps, seed=seed, say=_say)


@app.command()
def augmentations(out: Path = Path("docs/augmentation.png")) -> None:
    """Draw what every augmentation does to a photograph and its spectrum."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet().save(out, optimize=True)


if __name__ == "__main__":
    app()
