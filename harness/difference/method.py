"""One whole way to find where two images differ: registration, pre-processor, strategy and post-processors together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from harness.difference.planes import Planes, as_planes
from harness.difference.postprocess import IDENTITY, Mask, Postprocessor, apply, parse_postprocess
from harness.difference.preprocess import PREPROCESSORS, Preprocessor
from harness.difference.regions import Region, regions
from harness.difference.register import REGISTRATIONS, Registered, Registration
from harness.difference.strategies import STRATEGIES, Cam, GradCam, Map, Strategy
from harness.errors import ImageError, SuiteError, problem
from harness.named import THEN, read_named

LEAK = 3
"""Pixels that resampling and pre-processors carry what is made up for the unknown into the known."""

BETWEEN = " | "
"""Between the parts of a method's id."""


def parse_strategy(value: object) -> Strategy:
    """Read ``difference``, ``gradient metric=ssim`` or ``{gradcam: {model: NAME}}``. Raises SuiteError."""
    return read_named(value, STRATEGIES, "strategy", "gradient metric=ssim")


def parse_preprocess(value: object) -> Preprocessor:
    """Read ``identity``, ``lowpass cutoff=0.2`` or ``{wavelet: {level: 3}}``. Raises SuiteError."""
    return read_named(value, PREPROCESSORS, "pre-processor", "lowpass cutoff=0.2")


def parse_registration(value: object) -> Registration:
    """Read ``none``, ``phase`` or ``{ecc: {motion: euclidean}}``. Raises SuiteError."""
    return read_named(value, REGISTRATIONS, "registration", "phase")


def postprocess_id(steps: tuple[Postprocessor, ...]) -> str:
    """Return the steps' canonical id."""
    return THEN.join(step.id for step in steps) or IDENTITY


@dataclass(frozen=True)
class Method:
    """One way to find where two images differ.

    Attributes:
        strategy: how two images become a map.
        preprocess: what is done to either image first.
        postprocess: how the map becomes a mask; without steps there is none.
        registration: how the second image is laid over the first.

    Raises:
        SuiteError: a model is asked about what is no picture any more.
    """

    strategy: Strategy
    preprocess: Preprocessor
    postprocess: tuple[Postprocessor, ...]
    registration: Registration

    def __post_init__(self) -> None:
        if isinstance(self.strategy, GradCam) and not self.preprocess.leaves_a_picture:
            what, do = f"strategy {self.strategy.id}", "Take identity, normalize, lowpass or wavelet"
            raise SuiteError(problem(what, "a pre-processor that leaves a picture", self.preprocess.id, do))

    @property
    def id(self) -> str:
        """All parts with all their parameters."""
        parts = (self.strategy.id, self.preprocess.id, postprocess_id(self.postprocess), self.registration.id)
        return BETWEEN.join(parts)

    @property
    def brief(self) -> str:
        """The same with those parameters alone that are not as they usually are."""
        return BETWEEN.join(self.brief_parts.values())

    @property
    def brief_parts(self) -> dict[str, str]:
        """The brief words of every part, by its name."""
        return {
            "strategy": self.strategy.brief,
            "preprocess": self.preprocess.brief,
            "postprocess": THEN.join(step.brief for step in self.postprocess) or IDENTITY,
            "registration": self.registration.brief,
        }


def parse_method(
    strategy: object = "difference",
    preprocess: object = "identity",
    postprocess: object = "smooth + otsu + cleanup",
    register: object = "none",
) -> Method:
    """Read a method's parts as suites write them.

    Raises:
        SuiteError: an unknown name or parameter, a value out of range, or parts that do not go together.
    """
    return Method(
        parse_strategy(strategy),
        parse_preprocess(preprocess),
        parse_postprocess(postprocess),
        parse_registration(register),
    )


@dataclass(frozen=True)
class Difference:
    """Where two images differ.

    Attributes:
        map: float32 (H, W), >= 0, smoothed where the method says so.
        mask: bool (H, W); None where no threshold was asked for.
        regions: of the mask, strongest first.
        registered: the second image as it was laid over the first.
    """

    map: Map
    mask: Mask | None
    regions: tuple[Region, ...]
    registered: Registered


def difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    strategy: str = "difference",
    metric: str | None = None,
    preprocess: object = "identity",
    postprocess: object = "smooth + otsu + cleanup",
    register: object = "none",
    cams: Mapping[str, Cam] | None = None,
) -> Difference:
    """Find where two pictures differ.

    Args:
        a, b: pictures of one size, as :func:`as_planes` takes them: gray, RGB, RGBA; 8, 16 bits, floats in [0, 1].
        strategy: ``difference``, ``gradient`` or ``gradcam model=NAME``.
        metric: of the strategy: its default where None.
        preprocess: ``identity``, ``normalize``, ``highpass``, ``lowpass cutoff=0.2``, ``wavelet level=3`` ...
        postprocess: ``identity`` for a map alone, or steps as ``smooth + otsu + cleanup``.
        register: ``none``, ``phase`` or ``ecc``, where the second picture may be shifted.
        cams: of ``gradcam``: models by name.

    Raises:
        ImageError: pictures that can't be used, of two sizes, or that no registration lays over each other.
        SuiteError: a part that is not known.
    """
    words = f"{strategy} metric={metric}" if metric else strategy
    return find(as_planes(a), as_planes(b), parse_method(words, preprocess, postprocess, register), cams or {})


def find(a: Planes, b: Planes, method: Method, cams: Mapping[str, Cam]) -> Difference:
    """Apply a method to two images, float32 (H, W, 3) in [0, 1]; as :func:`difference`."""
    check_sizes(a, b)
    registered = method.registration(a, b)
    drawn = draw(method.preprocess(a), method.preprocess(registered.planes), registered, method.strategy, cams)
    shown, mask = apply(method.postprocess, drawn)
    return Difference(shown, mask, () if mask is None else regions(mask, shown), registered)


def check_sizes(a: Planes, b: Planes) -> None:
    """Raise ImageError ``sizes`` where two images have not one size."""
    if a.shape != b.shape:
        sizes = " and ".join(f"{planes.shape[1]} x {planes.shape[0]}" for planes in (a, b))
        raise ImageError("sizes", problem("two images", "one size", sizes, "Resize or crop one of them"))


def draw(a: Planes, b: Planes, registered: Registered, strategy: Strategy, cams: Mapping[str, Cam]) -> Map:
    """Return the map of two pre-processed images; 0 where nothing is known of the second, and :data:`LEAK` around it.

    Raises:
        ImageError: ``not_finite``: a model's answers are no numbers.
    """
    values = strategy(a, b, cams)
    if not np.isfinite(values).all():
        do = "Check the model, or take another strategy"
        raise ImageError("not_finite", problem(f"map of {strategy.id}", "finite values", "others", do))
    if registered.known.all():
        return values
    around = cv2.erode(registered.known.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=LEAK)
    return np.where(around > 0, values, np.float32(0))
