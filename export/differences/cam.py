"""Grad-CAM in torch, of any classifier or detector by the path of one of its layers; the network stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cams import laid_over
from harness.difference.pictures import pixels
from harness.difference.planes import Planes
from harness.errors import CardError, problem
from harness.images.preprocess import Preprocess, preprocess
from harness.names import did_you_mean


class TorchCam:
    """Where a network looks when it gives a score (Selvaraju et al., ICCV 2017, equations 1 and 2).

    Args:
        module: from images (N, ...) to scores (N, outputs) or (N,); put into evaluation mode.
        layer: path of a part whose output is (N, C, h, w): ``layer4``, ``features.18``.
        preprocess: makes the module's input of an image, where whole images are asked about.

    Raises:
        CardError: there is no such part.
    """

    def __init__(self, module: nn.Module, layer: str, preprocess: Preprocess | None = None) -> None:
        parts = {name: part for name, part in module.named_modules() if name}
        if layer not in parts:
            raise CardError(problem("layer", "a part of the network", repr(layer), did_you_mean(layer, list(parts))))
        self.module, self.layer = module.eval(), layer
        self.preprocess = preprocess or Preprocess(dtype="float32", layout="NCHW")
        self._part = parts[layer]

    def __call__(self, image: Planes, target: int | None) -> tuple[NDArray[np.float32], int]:
        """Return where the network looks in one image, laid over it, as strategy ``gradcam`` asks.

        Args:
            image: float32 (H, W, 3) in [0, 1].
            target: index of the score; None: the largest.
        """
        batch = preprocess(pixels(image), self.preprocess)[None]
        if target is None:
            with torch.no_grad():
                target = int(self.module(torch.from_numpy(batch)).reshape(1, -1).argmax())
        return laid_over(self.cam(batch, target)[0], image.shape[:2], self.preprocess), target

    def cam(self, batch: Tensor | NDArray[Any], target: int | Sequence[int]) -> NDArray[np.float32]:
        """Return relu(sum over k of mean(dy/dA_k) A_k), A the layer's answer and y the score, float32 (N, h, w).

        Args:
            batch: what the module takes, (N, ...).
            target: index of the score, or one an image; 0 of a detector's only one.

        Raises:
            CardError: the layer answers otherwise, takes no part in the score, or there is no such score.
        """
        images = batch.detach() if isinstance(batch, Tensor) else torch.from_numpy(np.array(batch))
        kept: list[Tensor] = []

        def keep(part: nn.Module, given: Any, answer: Any) -> Tensor:
            if not isinstance(answer, Tensor) or answer.ndim != 4:
                got = str(tuple(answer.shape)) if isinstance(answer, Tensor) else type(answer).__name__
                raise CardError(problem(f"layer {self.layer}", "answers (N, C, h, w)", got, "Name another"))
            kept.append(answer.detach().requires_grad_())
            return kept[-1].clone()  # what follows may work in place

        hook = self._part.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                scores = self.module(images).reshape(len(images), -1)
                chosen = _chosen(scores, target)
                gradient = None
                if len(kept) == 1 and chosen.requires_grad:
                    (gradient,) = torch.autograd.grad(chosen.sum(), kept[0], allow_unused=True)
        finally:
            hook.remove()
        if gradient is None:
            what, got = "a part that the score takes once", "one that it takes more often, or not at all"
            raise CardError(problem(f"layer {self.layer}", what, got, "Name another"))
        weights = gradient.mean((2, 3), keepdim=True)
        return np.asarray(F.relu((weights * kept[0].detach()).sum(1)).cpu().numpy(), np.float32)


def _chosen(scores: Tensor, target: int | Sequence[int]) -> Tensor:
    """Return one score an image, (N,)."""
    places = (
        torch.as_tensor(target).reshape(-1).expand(len(scores)) if isinstance(target, int) else torch.tensor(target)
    )
    if places.shape != scores.shape[:1] or bool(((places < 0) | (places >= scores.shape[1])).any()):
        what, got = f"one of {scores.shape[1]} scores for all images, or one each", repr(target)
        raise CardError(problem("target", what, got, "Count scores from 0"))
    return scores.gather(1, places[:, None])[:, 0]
