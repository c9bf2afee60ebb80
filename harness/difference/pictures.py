"""A difference as pictures: heat, overlay and side-by-side sheet, uint8 RGB; pure functions that write nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from harness.difference.method import Difference
from harness.difference.planes import Planes
from harness.difference.strategies import Map
from harness.images.preprocess import Image

BOXED = 40
"""Regions that are boxed and numbered; the outlines of weaker ones are drawn too."""

SHORTEST, LONGEST = 360, 720
"""Longer side of a sheet's panel in pixels: smaller pictures are enlarged by whole pixels, larger ones shrunk."""

WIDE = 1.25
"""Width over height from which a sheet has two rows of two panels; below, one row of four."""

MARK, INK, PAPER, FAINT = (255, 214, 10), (20, 20, 24), (255, 255, 255), (110, 110, 118)
"""Colours of marks, words, the page, and lesser words."""

GAP, TEXT = 16, 17
"""Between panels, and height of words, in pixels."""


def heat(values: Map) -> Image:
    """Return a map's values over its largest one as colours: black for 0, purple, orange, pale yellow for 1 (inferno).

    Args:
        values: float32 (H, W), >= 0; one that is flat at 0 is black.
    """
    most = float(values.max())
    if not most > 0:
        return np.zeros((*values.shape, 3), np.uint8)
    levels = np.rint(np.clip(values / np.float32(most), 0, 1) * 255).astype(np.uint8)
    return np.where(levels[:, :, None] > 0, _heat_of(levels), np.uint8(0))


def pixels(planes: Planes) -> Image:
    """Return planes float32 (H, W, 3) in [0, 1] as uint8 RGB."""
    return np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)


def overlay(found: Difference, zoom: float = 1.0) -> Image:
    """Return the second image as it was laid over the first: gray and dim where it is equal, differences marked.

    The mask is outlined, its BOXED strongest regions are boxed and numbered in their order. Without a mask, the heat of
    the map shines through instead.

    Args:
        found: the difference.
        zoom: factor of the picture's size.
    """
    second = _zoomed(pixels(found.registered.planes), zoom)
    gray = second.mean(axis=2, keepdims=True)
    dim = (0.5 * (0.25 * second + 0.75 * gray)).astype(np.uint8)
    if found.mask is None:
        return np.asarray(np.maximum(dim, _zoomed(heat(found.map), zoom)))
    size = second.shape[1::-1]
    mask = cv2.resize(found.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    shown = np.where(mask[:, :, None] > 0, second, dim)
    outlines, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = max(1, round(min(size) / 400))
    for colour, width in ((INK, 3 * line), (MARK, line)):
        cv2.drawContours(shown, outlines, -1, colour, width)
    boxes = [[round(edge * zoom) for edge in region.box] for region in found.regions[:BOXED]]
    return _boxed(shown, boxes, line)


def sheet(a: Planes, found: Difference, titles: tuple[str, str], notes: Sequence[str] = ()) -> Image:
    """Return both images, the map and the overlay side by side, with captions above and notes below.

    The second image is shown as it was laid over the first, so that the four panels lie alike.

    Args:
        a: the first image, float32 (H, W, 3) in [0, 1].
        found: its difference to the second.
        titles: what the two images are called.
        notes: lines below; long ones are folded.
    """
    height, width = a.shape[:2]
    longer = max(height, width)
    zoom = LONGEST / longer if longer > LONGEST else float(-(-SHORTEST // longer))
    panels = [_zoomed(pixels(planes), zoom) for planes in (a, found.registered.planes)]
    panels += [_zoomed(heat(found.map), zoom), overlay(found, zoom)]
    captions = (f"1  {titles[0]}", f"2  {titles[1]}", "map", _counted(found))
    columns = 2 if width > WIDE * height else 4
    high, wide = panels[0].shape[:2]
    step = wide + GAP, high + GAP + 2 * TEXT
    page = PILImage.new("RGB", (columns * step[0] + GAP, 4 // columns * step[1] + GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT)
    for place, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        left, top = GAP + place % columns * step[0], GAP + place // columns * step[1]
        room = wide - _scale(page, left + wide, top, wide, float(found.map.max())) if caption == "map" else wide
        draw.text((left, top), _cut(caption, room, font), INK, font)
        page.paste(PILImage.fromarray(panel), (left, top + 2 * TEXT - GAP // 2))
    return np.concatenate([np.asarray(page), _below(notes, page.width)])


def _heat_of(levels: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), np.uint8)


def _zoomed(picture: Image, zoom: float) -> Image:
    if zoom == 1:
        return picture
    size = [max(1, round(length * zoom)) for length in picture.shape[1::-1]]
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _boxed(picture: Image, boxes: Sequence[Sequence[int]], line: int) -> Image:
    """Draw boxes (top, left, bottom, right) a little outside, each with its number on a tag that stays inside."""
    height, width = picture.shape[:2]
    page = PILImage.fromarray(np.ascontiguousarray(picture))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(max(9, min(height, width) // 32))
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        edges = (max(left - 3 * line, 0), max(top - 3 * line, 0))
        ends = (min(right + 3 * line, width) - 1, min(bottom + 3 * line, height) - 1)
        draw.rectangle((*edges, *ends), outline=MARK, width=line)
        x, y, after, below = (int(edge) for edge in draw.textbbox((0, 0), str(number), font))
        wide, high = after - x + 4 * line + 2, below - y + 4 * line + 2
        place = min(edges[0], width - wide), edges[1] - high if edges[1] >= high else min(ends[1] + 1, height - high)
        draw.rectangle((*place, place[0] + wide, place[1] + high), fill=MARK)
        draw.text((place[0] + 2 * line + 1 - x, place[1] + 2 * line + 1 - y), str(number), INK, font)
    return np.asarray(page)


def _counted(found: Difference) -> str:
    if found.mask is None:
        return "overlay: 2 under the map"
    count = len(found.regions)
    more = f", the strongest {BOXED} boxed" if count > BOXED else ""
    return f"overlay: {count} region{'' if count == 1 else 's'}{more}"


def _scale(page: PILImage.Image, right: int, top: int, width: int, most: float) -> int:
    """Draw a map's scale, 0 to its largest value, against the right end of its caption; return how wide it is."""
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT - 3)
    bar = max(1, width // 3)
    label = f"{most:.3g}"
    text = round(draw.textlength(label, font)) + 6
    left = right - text - bar
    ramp = np.tile(np.linspace(0, 255, bar).astype(np.uint8), (TEXT - 4, 1))
    page.paste(PILImage.fromarray(_heat_of(ramp)), (left, top + 4))
    draw.text((right, top + 2), label, FAINT, font, anchor="ra")
    draw.text((left - 6, top + 2), "0", FAINT, font, anchor="ra")
    return text + bar + 24


def _below(notes: Sequence[str], width: int) -> Image:
    font = ImageFont.load_default(TEXT - 3)
    lines = [line for note in notes for line in _folded(note, width - 2 * GAP, font)]
    page = PILImage.new("RGB", (width, (len(lines) * (TEXT + 4) + GAP) if lines else 0), PAPER)
    draw = ImageDraw.Draw(page)
    for place, line in enumerate(lines):
        draw.text((GAP, place * (TEXT + 4)), line, FAINT, font)
    return np.asarray(page).reshape(page.height, width, 3)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _folded(text: str, width: float, font: Font) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            yield _cut(line, width, font)
            line = word
        else:
            line = longer
    yield _cut(line, width, font)


def _cut(text: str, width: float, font: Font) -> str:
    """Leave out the middle of what is too long."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and font.getlength(f"{text[: kept // 2]}...{text[-(kept // 2) :]}") > width:
        kept -= 1
    return f"{text[: kept // 2]}...{text[-(kept // 2) :]}"
