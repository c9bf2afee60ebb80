"""From a map to a mask of what differs: smoothing, thresholds, morphology. Never sees the images.

Lengths are shares of the picture's shorter side, areas of its area, so that a chain means the same at any size; specks
of noise alone are counted in pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from skimage.filters import threshold_niblack, threshold_otsu

from harness.difference.strategies import Map
from harness.errors import SuiteError, problem
from harness.named import THEN, Named, read_chain

Mask = NDArray[np.bool_]
"""Which pixels differ, bool (H, W)."""

Share = Annotated[float, Field(ge=0, le=0.5)]


class Postprocessor(Named):
    """One step; its fields are its parameters.

    Attributes:
        stage: ``map`` (map to map), ``threshold`` (map to mask) or ``mask`` (mask to mask).
    """

    stage: ClassVar[Literal["map", "threshold", "mask"]]

    @abstractmethod
    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the next map or mask."""


class Smooth(Postprocessor):
    """Blur the map with a Gaussian: single pixels lose against spots."""

    name = "smooth"
    stage = "map"
    sigma: Share = 0.005

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Blur, mirrored at the border."""
        sigma = self.sigma * min(values.shape)
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma)) if sigma > 0.1 else values


class Otsu(Postprocessor):
    """Cut where the variance between the two sides is largest (Otsu 1979); a flat map has nothing above."""

    name = "otsu"
    stage = "threshold"

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cut the map."""
        if np.ptp(values) == 0:
            return np.zeros(values.shape, bool)
        return np.asarray(values > threshold_otsu(values))  # type: ignore[no-untyped-call]


class Percentile(Postprocessor):
    """Keep what lies above a percentile of the map, however small it is."""

    name = "percentile"
    stage = "threshold"
    q: float = Field(default=99.0, gt=0, lt=100)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cut the map."""
        return np.asarray(values > np.percentile(values, self.q))


class Local(Postprocessor):
    """Keep what lies k local standard deviations above the local mean (Niblack 1986)."""

    name = "local"
    stage = "threshold"
    block: Share = 0.25
    k: float = Field(default=2.0, gt=0)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cut the map."""
        window = max(3, int(self.block * min(values.shape)) | 1)
        threshold = threshold_niblack(values, window, -self.k)  # type: ignore[no-untyped-call]
        return np.asarray((values > threshold) & (values > 0))


class Deviations(Postprocessor):
    """Keep what lies k robust standard deviations (1.4826 times the median deviation) above the median."""

    name = "deviations"
    stage = "threshold"
    k: float = Field(default=8.0, gt=0)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cut the map."""
        middle = np.median(values)
        return np.asarray(values > middle + self.k * 1.4826 * np.median(np.abs(values - middle)))


class Level(Postprocessor):
    """Keep what lies above a value, in the map's own units: the same in every picture, where nothing changed too."""

    name = "level"
    stage = "threshold"
    at: float = Field(default=0.15, ge=0)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cut the map."""
        return np.asarray(values > self.at)


class Cleanup(Postprocessor):
    """Drop specks, open (drop what is thinner), close (join what is nearer), fill smaller holes, drop what is smaller.

    Attributes:
        specks: pixels; connected parts of fewer are dropped before anything is joined, whatever the picture's size.
    """

    name = "cleanup"
    stage = "mask"
    specks: int = Field(default=0, ge=0)
    open: Share = 0.0
    close: Share = 0.01
    area: Share = 0.0003
    fill: Share = 0.002

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Clean the mask."""
        mask: NDArray[Any] = _large(values, self.specks, neighbours=8).astype(np.uint8)
        for share, operation in ((self.open, cv2.MORPH_OPEN), (self.close, cv2.MORPH_CLOSE)):
            if radius := round(share * min(values.shape)):
                disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
                padded = np.pad(mask, radius)
                mask = cv2.morphologyEx(padded, operation, disk)[radius:-radius, radius:-radius]
        filled = ~_large(np.pad(mask, 1) == 0, self.fill * mask.size, neighbours=4)[1:-1, 1:-1]
        return _large(filled, self.area * mask.size, neighbours=8)


def _large(mask: NDArray[Any], area: float, neighbours: int) -> Mask:
    """Return the mask without its connected parts of fewer pixels."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=neighbours)
    kept = facts[:, cv2.CC_STAT_AREA] >= area
    kept[0] = False
    return np.asarray(kept[labels], bool)


POSTPROCESSORS: dict[str, type[Postprocessor]] = {
    kind.name: kind for kind in (Smooth, Otsu, Percentile, Local, Deviations, Level, Cleanup)
}
"""Post-processors by name; a new one is a class and its entry here."""

IDENTITY = "identity"
"""No step at all: the map as it is."""


def parse_postprocess(value: object) -> tuple[Postprocessor, ...]:
    """Read steps as suites write them: ``otsu``, ``{percentile: {q: 98}}``, a list of them in order, or ``identity``.

    Raises:
        SuiteError: an unknown name or parameter, a value out of range, or steps that can't follow each other.
    """
    steps = () if value == IDENTITY else read_chain(value, POSTPROCESSORS, "post-processor", "percentile q=98")
    stages = [step.stage for step in steps]
    order = [stage for stage in ("map", "threshold", "mask") for _ in range(stages.count(stage))]
    if stages != order or (steps and stages.count("threshold") != 1):
        got = THEN.join(step.name for step in steps)
        do = "Write e.g. smooth + otsu + cleanup"
        raise SuiteError(problem("post-processors", "smoothing, then one threshold, then cleaning up", got, do))
    return steps


def apply(steps: Sequence[Postprocessor], values: Map) -> tuple[Map, Mask | None]:
    """Return the smoothed map and its mask; None where no step is a threshold."""
    shown: NDArray[Any] = values
    mask: NDArray[Any] | None = None
    for step in steps:
        if step.stage == "map":
            shown = step(shown)
        else:
            mask = step(shown if mask is None else mask)
    return shown, mask
