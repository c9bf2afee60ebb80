"""Draws what every augmentation does to one photograph and its spectrum. It trains nothing."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from torch import Generator, Tensor

from export.training.augment import parse_augmentation
from harness.data.miniature.photographs import PHOTOGRAPHS, load
from harness.images import Image

CELL = 136
"""Side of a picture in pixels."""

GAP, MARGIN = 6, 20
HEAD, CAPTION = 24, 20
BLOCK = (3 * CELL + 2 * GAP, HEAD + CAPTION + 2 * CELL + GAP)
"""Width and height of an augmentation's pictures: a title, captions, three images, their spectra."""

PAPER, INK, FAINT = (255, 255, 255), (24, 24, 27), (113, 113, 122)
COLOURS = 224
"""Of the palette, so that the file stays small."""

PICTURES = {"chelsea": (0, 90, 300), "coffee": (40, 120, 340)}
"""Photographs (both CC0) with the top, left and side of the square that is shown; the first one is augmented."""

SHOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("blur_jpeg", ("sigma=1:1 quality=90:90", "sigma=2:2 quality=60:60", "sigma=3:3 quality=30:30")),
    ("magnitude_noise", ("strength=0.2", "strength=0.5", "strength=1")),
    ("phase_noise", ("strength=0.1", "strength=0.3", "strength=0.6")),
    ("magnitude_mix", ("strength=0.3", "strength=0.6", "strength=1")),
    ("band_attenuate radius=0.1:0.9", ("strength=0.5", "strength=0.8", "strength=1")),
    ("band_noise radius=0.1:0.9", ("strength=0.02", "strength=0.1", "strength=0.5")),
    ("spectral_dropout radius=0.1:1", ("strength=0.2", "strength=0.5", "strength=0.9")),
)
"""What is drawn, in the words of recipes: what three pictures share, and what tells them apart."""


def sheet(seed: int = 2) -> PILImage.Image:
    """Return the sheet, a picture with a palette: the photograph, then each augmentation at three strengths.

    Args:
        seed: of every augmentation; one seed draws the same for each of three strengths.
    """
    batch = torch.stack([_photograph(name, *square) for name, square in PICTURES.items()])
    columns, rows = 2, (len(SHOWN) + 2) // 2
    size = [
        2 * MARGIN + number * side + (number - 1) * 2 * MARGIN
        for number, side in zip((columns, rows), BLOCK, strict=True)
    ]
    canvas = PILImage.new("RGB", (size[0], size[1]), PAPER)
    blocks: list[tuple[str, tuple[str, ...], Tensor]] = [("the photograph", ("original", "for magnitude_mix"), batch)]
    for title, captions in SHOWN:
        made = [parse_augmentation(f"{title} p=1 {said}")(batch, Generator().manual_seed(seed))[0] for said in captions]
        blocks.append((title, captions, torch.stack(made)))
    for number, (title, captions, images) in enumerate(blocks):
        row, column = divmod(number, columns)
        corner = (MARGIN + column * (BLOCK[0] + 2 * MARGIN), MARGIN + row * (BLOCK[1] + 2 * MARGIN))
        _draw(canvas, corner, title, captions, images)
    return canvas.quantize(COLOURS, method=PILImage.Quantize.MEDIANCUT, dither=PILImage.Dither.NONE)


def _photograph(name: str, top: int, left: int, side: int) -> Tensor:
    """Return a square of a photograph at the size of a cell, in [0, 1], (3, CELL, CELL)."""
    pixels = load(next(item for item in PHOTOGRAPHS if item.name == name))[top : top + side, left : left + side]
    small = PILImage.fromarray(pixels).resize((CELL, CELL), PILImage.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def _draw(
    canvas: PILImage.Image, corner: tuple[int, int], title: str, captions: tuple[str, ...], images: Tensor
) -> None:
    """Draw a title, then each image (3, CELL, CELL) with its caption above and its spectrum below."""
    pen = ImageDraw.Draw(canvas)
    left, top = corner
    pen.text((left, top), title, INK, ImageFont.load_default(17))
    for number, (caption, image) in enumerate(zip(captions, images, strict=True)):
        x, y = left + number * (CELL + GAP), top + HEAD
        pen.text((x, y + 2), caption, FAINT, ImageFont.load_default(11))
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        canvas.paste(PILImage.fromarray(pixels), (x, y + CAPTION))
        canvas.paste(PILImage.fromarray(log_spectrum(pixels)), (x, y + CAPTION + CELL + GAP))


def log_spectrum(pixels: Image) -> Image:
    """Return an image's log magnitudes in colour, frequency 0 in the middle; one scale for all images of one size.

    Every 2 x 2 frequencies share their mean. Sides are even.
    """
    height, width = pixels.shape[:2]
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(pixels.mean(axis=2), norm="ortho")))
    scaled = np.clip((np.log10(magnitude + 1e-3) + 0.5) / 3.5, 0, 1)
    means = scaled.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    coloured = cv2.applyColorMap(np.rint(means * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(coloured[..., ::-1], np.uint8)
