"""Colours of heat maps and curves, safe for colour-blind readers and legible on light and dark; draws nothing.

A figure on its way from chance to the best is a ramp of blue, light to deep (deep to light on a dark page), whose
lightness alone carries the order; a figure below chance turns to orange, which no kind of colour blindness takes for
blue. Ramps are laid out in OKLCH (Ottosson 2020), where equal steps look equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVELS = 20
"""Steps of the ramp above chance; half as many below."""


@dataclass(frozen=True, slots=True)
class Swatch:
    """A fill and the ink that reads best on it, as ``#rrggbb``."""

    fill: str
    ink: str


@dataclass(frozen=True, slots=True)
class _Ramp:
    """OKLCH at the two ends: lightness 0..1, chroma, hue in degrees."""

    lightness: tuple[float, float]
    chroma: tuple[float, float]
    hue: tuple[float, float]

    def at(self, t: float) -> Swatch:
        return _swatch(*(low + t * (high - low) for low, high in (self.lightness, self.chroma, self.hue)))


_ABOVE = {
    "light": _Ramp((0.975, 0.40), (0.008, 0.135), (225.0, 262.0)),
    "dark": _Ramp((0.27, 0.84), (0.03, 0.11), (258.0, 238.0)),
}
_BELOW = {
    "light": _Ramp((0.975, 0.66), (0.008, 0.17), (60.0, 48.0)),
    "dark": _Ramp((0.27, 0.70), (0.03, 0.15), (50.0, 52.0)),
}

SERIES = {
    "light": ("#0069a8", "#c84b00", "#007d5a", "#a8457f", "#8a6a00", "#2a80b4", "#6a4fb3", "#555d66"),
    "dark": ("#5eb3f0", "#ff8f52", "#3fc79a", "#e88fc0", "#dcb545", "#9ad7ff", "#b7a1f5", "#aeb7c2"),
}
"""Colours of curves, in order; they differ in lightness as well as in hue, and repeat after eight."""


def heat_level(value: float, low: float, high: float) -> int:
    """Return a figure's step: 0 at ``low`` (chance) to ``LEVELS`` at ``high``; negative, to -LEVELS / 2, below."""
    step = math.floor(LEVELS * (value - low) / (high - low) + 0.5)
    return max(-LEVELS // 2, min(LEVELS, step))


def heat_swatch(level: int, scheme: str) -> Swatch:
    """Return the colours of a step of ``heat_level`` on a ``light`` or a ``dark`` page."""
    if level >= 0:
        return _ABOVE[scheme].at(level / LEVELS)
    return _BELOW[scheme].at(-level / (LEVELS // 2))


def contrast(a: str, b: str) -> float:
    """Return the contrast ratio of two colours, 1..21 (WCAG 2.2)."""
    bright, dim = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _swatch(lightness: float, chroma: float, hue: float) -> Swatch:
    fill = _hex(lightness, chroma, math.radians(hue))
    return Swatch(fill, max(("#06090d", "#ffffff"), key=lambda ink: contrast(fill, ink)))


def _hex(lightness: float, chroma: float, hue: float) -> str:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _encoded(value)):02x}" for value in linear)


def _encoded(linear: float) -> float:
    value = min(1.0, max(0.0, linear))
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
