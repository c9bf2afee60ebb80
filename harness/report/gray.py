"""The gray experiment laid out: how well gray is painted, and which pattern the network leaves in it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.fingerprints.spectrum import FAINT, LEVELS, logarithmic, magnitudes
from harness.report.gallery import pictured, told
from harness.report.tree import Column, Curves, Section, Sheet, Table, Tile
from harness.stats import Estimate
from harness.tasks.gray import History, Stage, stages

_INTRO = (
    "A U-Net of {base} channels whose decoder enlarges by {up} is fitted to a constant gray of 0.5 from fixed noise."
    " Frequencies at multiples of 1/2, 1/4, 1/8 and 1/16 cycles per pixel are those that its four twofold enlargements"
    " repeat: a magnitude there above its background is theirs. After {first:,} steps of training those four have"
    " {before} times their background on the mean, after {last:,} steps {after}. {left}"
)

_UPS = {"transposed": "transposed convolutions", "nearest": "repeating pixels before a convolution"}


def gray_section(history: History, name: str, many: bool) -> Section:
    """Lay out a gray task.

    Args:
        history: the network's answers.
        name: of the task.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    found = stages(history)
    steps = tuple(str(stage.step) for stage in found)
    ratios = {
        f"1/{level}" if level else "others": tuple(Estimate.bare(stage.lattice[level], 1) for stage in found)
        for level in (*LEVELS, 0)
    }
    return Section(
        f"{name}: Gray" if many else "Gray",
        (
            Curves(
                f"{name}_psnr",
                "Reconstruction error: PSNR of the image against gray, dB",
                steps,
                {"image": tuple(Estimate.bare(stage.psnr, 1) for stage in found)},
                "PSNR",
                "step",
                "float",
                None,
            ),
            Curves(
                f"{name}_lattice",
                "Fourier magnitude over the median around it, mean of the multiples of each frequency",
                steps,
                ratios,
                "times background",
                "step",
                "float",
                1.0,
            ),
            Sheet(f"{name}_images", "Image, stretched, above its spectrum", tuple(map(_tile, found))),
            _peaks(found, name),
        ),
        _intro(history, found),
    )


def _intro(history: History, found: Sequence[Stage]) -> str:
    first, last = found[0], found[-1]
    up = _UPS.get(history.up, history.up)
    standing = f"peaks at {told(last.peaks)}" if last.peaks else "no peak"
    left = (
        f"What is left at the end, an image {last.psnr:.1f} dB from gray, has {standing} of more than {FAINT:g} times"
        f" the background; all other frequencies have {last.lattice[0]:.3g} on the mean."
    )
    return _INTRO.format(
        base=history.base, up=up, first=first.step, before=_means(first), last=last.step, after=_means(last), left=left
    )


def _means(stage: Stage) -> str:
    return ", ".join(f"{stage.lattice[level]:.3g}" for level in LEVELS)


def _tile(stage: Stage) -> Tile:
    spectrum = logarithmic(magnitudes(stage.output), 0.0, 100.0, power=4.0)
    return Tile(pictured(stage.output, spectrum), f"step {stage.step:,}", told(stage.peaks[:2]))


def _peaks(found: Sequence[Stage], name: str) -> Table:
    return Table(
        f"{name}_peaks",
        f"Strongest peaks, of more than {FAINT:g} times their background",
        (
            Column("step", "step", "int"),
            Column("psnr", "PSNR, dB", "float"),
            Column("x", "across, cycles/pixel", "float"),
            Column("y", "down, cycles/pixel", "float"),
            Column("ratio", "times background", "float"),
        ),
        tuple(
            {"step": stage.step, "psnr": stage.psnr} | ({"x": peak.x, "y": peak.y, "ratio": peak.ratio} if peak else {})
            for stage in found
            for peak in (stage.peaks or (None,))
        ),
    )
