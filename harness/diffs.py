"""Holds pairs of images against each other, one at a time: maps and pictures on disk, figures in one table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from harness.cams import ServedCam
from harness.card import NAME_PATTERN
from harness.data.paired import ImagePair, Paired
from harness.difference import Difference, Method, Region, as_planes, find, metrics
from harness.difference.pictures import heat, overlay, sheet
from harness.difference.planes import Planes
from harness.difference.strategies import TORCH, Cam, GradCam, Strategy
from harness.errors import CardError, ImageError, StoreError, SuiteError, problem
from harness.extras import load_extra
from harness.images import Image
from harness.models import expand, open_models
from harness.names import did_you_mean
from harness.repository import match_names
from harness.spec.suite import ModelSpec
from harness.store.files import write_atomic

PLAIN = {
    "mae": metrics.mae,
    "mse": metrics.mse,
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "dice": metrics.dice,
    "jaccard": metrics.jaccard,
}
"""Figures that need nothing but the base install."""

USUAL = ("mae", "mse", "psnr", "ssim")
"""Figures that every pair gets."""

NEED_TORCH = ("ms_ssim", "lpips")

TABLE = "figures.csv"

PICTURES = ("map.npy", "map.png", "mask.png", "overlay.png", "sheet.png")
"""What a pair's folder holds; ``mask.png`` only where a threshold was asked for."""


@dataclass(frozen=True)
class DiffAsked:
    """How pairs are held against each other.

    Attributes:
        method: what finds where they differ.
        figures: names; figures are of the two pictures themselves, the second as it was laid over the first.
        weights: of the figure ``lpips``.
    """

    method: Method
    figures: tuple[str, ...] = USUAL
    weights: str = ""


def read_asked(method: Method, more: Sequence[str] = (), weights: str = "") -> DiffAsked:
    """Check what is asked for, before any image is read.

    Args:
        method: what finds where images differ.
        more: figures beside USUAL.
        weights: of the figure ``lpips``.

    Raises:
        SuiteError: a figure that is not known, ``lpips`` without weights, or weights without ``lpips``.
        HarnessError: something needs an extra that is not installed.
    """
    known = (*PLAIN, *NEED_TORCH)
    for name in more:
        if name not in known:
            raise SuiteError(problem("figure", "a known one", repr(name), did_you_mean(name, known)))
    perceptual = getattr(method.strategy, "metric", "") == "lpips"
    if "lpips" in more and not weights:
        raise SuiteError(
            problem("figure lpips", "weights", "none", "Write --weights squeeze, or --weights squeeze:FILE")
        )
    if weights and not perceptual and "lpips" not in more:
        raise SuiteError(problem("weights", "lpips, as metric or figure", weights, "Leave --weights out"))
    if method.strategy.needs_torch or {*more} & {*NEED_TORCH}:
        load_extra(TORCH)
    return DiffAsked(method, tuple(dict.fromkeys((*USUAL, *more))), weights)


@contextmanager
def open_cams(strategy: Strategy, repository: Path, endpoint: str | None = None) -> Iterator[Mapping[str, Cam]]:
    """Open the model that a strategy asks where it looks; none where it asks no model.

    Args:
        strategy: ``gradcam``, or any other.
        repository: where the entry is, in process.
        endpoint: an address that answers in its place.

    Raises:
        CardError: there is no such entry, or it does not say where it looks.
        SuiteError: an endpoint that no strategy asks, or a model's name that can't be one.
        EndpointError: the endpoint does not answer.
    """
    if not isinstance(strategy, GradCam):
        if endpoint:
            do = "Leave the endpoint out, or name --model NAME.gradcam"
            raise SuiteError(problem(f"strategy {strategy.id}", "no model", f"endpoint {endpoint}", do))
        yield {}
        return
    name = strategy.model
    if not re.fullmatch(NAME_PATTERN, name):
        do = "Write the entry's whole name: harness list models"
        raise SuiteError(problem("strategy gradcam", "a model architecture.tag.gradcam", repr(name), do))
    make = f"Make one: harness export gradcam --of {name.removesuffix('.gradcam')} --layer last"
    if endpoint is None and name not in match_names(repository):
        raise CardError(problem(f"model {name}", f"an entry of {repository}", "none", make))
    with open_models(expand([ModelSpec(name=name, endpoint=endpoint)], repository)) as models:
        if (task := models[name].card.task) != "gradcam":
            raise CardError(problem(f"model {name}", "an entry of task gradcam", task, make))
        yield {name: ServedCam(models[name])}


@dataclass(frozen=True)
class Told:
    """What came of one pair.

    Attributes:
        pair: the two images.
        figures: by name; empty where the pair failed.
        regions: strongest first.
        shift: (right, down) in pixels: how far the second image's middle lay from the first's.
        error: ``reason: message``; empty where nothing failed.
    """

    pair: ImagePair
    figures: Mapping[str, float] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    shift: tuple[float, float] = (0.0, 0.0)
    error: str = ""


def diff_pairs(paired: Paired, asked: DiffAsked, cams: Mapping[str, Cam], out: Path) -> Iterator[Told]:
    """Compare pairs and write what is found below ``out``, each as soon as it is known; holds one pair at a time.

    An image that can't be used costs a row of the table. Names without a partner are rows too. Pairs that an earlier
    call left in ``out`` are written again.

    Yields:
        What came of each pair, once it is on disk.

    Raises:
        StoreError: the disk refuses.
        EndpointError, CheckpointError: a model does not answer, or weights can't be had.
    """
    table = _Table(out / TABLE, asked.figures)
    for name, root in paired.alone:
        table.write({"name": name, "error": f"unmatched: only in {root}"})
    for pair in paired.pairs:
        told = _compare(pair, asked, cams, out / pair.name)
        table.write(_row(told))
        yield told


def _compare(pair: ImagePair, asked: DiffAsked, cams: Mapping[str, Cam], folder: Path) -> Told:
    """Compare one pair and write its pictures; those of an earlier call are removed first."""
    for name in PICTURES:
        if (folder / name).is_file():
            (folder / name).unlink()
    try:
        first, second = (as_planes(image) for image in pair.read())
        found = find(first, second, asked.method, cams)
        figures = _measure(first, found, asked)
    except ImageError as error:
        return Told(pair, error=f"{error.reason}: {error}")
    told = Told(pair, figures, found.regions, _shift(found))
    values = io.BytesIO()
    np.save(values, found.map)
    write_atomic(folder / "map.npy", values.getvalue())
    pictures = {"map": heat(found.map), "overlay": overlay(found)}
    pictures["sheet"] = sheet(first, found, pair.titles, (in_words(told), asked.method.id))
    if found.mask is not None:
        pictures["mask"] = found.mask.astype(np.uint8) * np.uint8(255)
    for name, picture in pictures.items():
        write_atomic(folder / f"{name}.png", _png(picture))
    return told


def _measure(first: Planes, found: Difference, asked: DiffAsked) -> dict[str, float]:
    """Return figures of the part that both images show; pixels in its corners that only one shows count as equal."""
    known = found.registered.known
    part = np.ix_(known.any(axis=1), known.any(axis=0))
    a, b = first, found.registered.planes
    if not known.any():
        do = "Register them otherwise, or not at all"
        raise ImageError("unregistered", problem("registration", "images that overlap", "none in common", do))
    if not known.all():
        a, b = (np.ascontiguousarray(planes[part]) for planes in (a, np.where(known[:, :, None], b, a)))
    return {
        name: PLAIN[name](a, b) if name in PLAIN else load_extra(TORCH).measure(a, b, name, asked.weights)
        for name in asked.figures
    }


def _shift(found: Difference) -> tuple[float, float]:
    height, width = found.map.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = found.registered.matrix
    right, down = matrix[:, :2] @ middle + matrix[:, 2] - middle
    return float(right), float(down)


def in_words(told: Told) -> str:
    """Return a pair's figures in one line; its shift where there is one."""
    units = {"psnr": " dB"}
    said = [f"{name.upper()} {value:.4g}{units.get(name, '')}" for name, value in told.figures.items()]
    right, down = told.shift
    moved = [f"shift {right:+.2f} right, {down:+.2f} down"] if right or down else []
    return "   ".join([*said, *moved])


def _row(told: Told) -> dict[str, Any]:
    """Return a pair as a row of the table: boxes are ``top left bottom right``, shifts ``right down`` in pixels."""
    if told.error:
        return {"name": told.pair.name, "error": told.error}
    return {
        "name": told.pair.name,
        **told.figures,
        "regions": len(told.regions),
        "boxes": "; ".join(" ".join(map(str, region.box)) for region in told.regions),
        "strongest": told.regions[0].strength if told.regions else 0.0,
        "shift": "{:.3f} {:.3f}".format(*told.shift),
    }


class _Table:
    """A CSV file that grows by a row at a time.

    Args:
        path: where it is; an earlier one is replaced.
        figures: names of its columns of figures.
    """

    def __init__(self, path: Path, figures: Sequence[str]) -> None:
        self.path = path
        self.columns = ["name", *figures, "regions", "boxes", "strongest", "shift", "error"]
        write_atomic(path, (",".join(self.columns) + "\n").encode())

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row, and have it on disk."""
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        except OSError as error:
            what, got = str(self.path), error.strerror or str(error)
            raise StoreError(
                problem(what, "a file that can be written", got, "Free space or name --out DIR")
            ) from error


def _png(picture: Image) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(picture).save(buffer, "png", compress_level=1)
    return buffer.getvalue()
