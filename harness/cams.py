"""Where a model looks: asks a served Grad-CAM graph about one image and lays its answer over that image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.difference.pictures import pixels
from harness.difference.planes import Planes
from harness.errors import EndpointBadAnswer, problem
from harness.images.preprocess import Preprocess, preprocess
from harness.models import Model

CAM, TARGET = "cam", "target"
"""The tensors of a gradcam entry beside those of its card."""


class ServedCam:
    """A gradcam entry, in process or on a server.

    Args:
        model: opened, its card of task ``gradcam``.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, image: Planes, target: int | None) -> tuple[NDArray[np.float32], int]:
        """Ask; where no output is named, the first answer says which.

        Raises:
            EndpointError: it does not answer, or not as its card says.
        """
        card = self.model.card
        batch = preprocess(pixels(image), card.preprocess)[None]
        asked = 0 if target is None else target
        answers = self._ask(batch, asked)
        if target is None and (best := int(answers[card.output][0].argmax())) != asked:
            asked, answers = best, self._ask(batch, best)
        return laid_over(answers[CAM][0], image.shape[:2], card.preprocess), asked

    def _ask(self, batch: NDArray[np.generic], target: int) -> dict[str, NDArray[np.float32]]:
        card = self.model.card
        answers = self.model.backend.infer({card.input: batch, TARGET: np.array([[target]], np.int64)})
        if CAM not in answers or answers[CAM].ndim != 3 or card.output not in answers:
            got = {name: answer.shape for name, answer in answers.items()}
            what, do = f"{self.model.name}: output {CAM}", "Export it: harness export gradcam"
            raise EndpointBadAnswer(problem(what, "(batch, h, w)", str(got), do))
        if not np.isfinite(answers[CAM]).all():
            raise EndpointBadAnswer(problem(f"{self.model.name}: output {CAM}", "finite values", "others", "Check it"))
        return dict(answers)


def laid_over(cam: NDArray[np.float32], size: tuple[int, int], spec: Preprocess) -> NDArray[np.float32]:
    """Lay a model's map over what the model saw of an image of ``size`` (height, width); 0 around it."""
    height, width = size
    scale = spec.resize / min(size) if spec.resize else 1.0
    rows, columns = (round(spec.crop / scale) if spec.crop else length for length in size)
    large = cv2.resize(np.ascontiguousarray(cam, np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    top, left = round((height - rows) / 2), round((width - columns) / 2)
    found = np.zeros(size, np.float32)
    inner = large[max(-top, 0) : max(-top, 0) + height, max(-left, 0) : max(-left, 0) + width]
    found[max(top, 0) : max(top, 0) + inner.shape[0], max(left, 0) : max(left, 0) + inner.shape[1]] = inner
    return found
